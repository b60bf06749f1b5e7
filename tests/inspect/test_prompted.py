"""What is read around a row's texts, as the plan counts it and the preview shows it."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from orchestrator.inspect.prompted import as_read
from orchestrator.specs import TextClassification

TABLE = pa.table({"text": ["fine"], "text_pair": ["dull"], "label": ["pos"]})


def task(**fields: Any) -> TextClassification:
    return TextClassification.model_validate({"type": "text-classification", **fields})


def test_a_prompt_with_the_right_words_is_one_text() -> None:
    likely = task(
        by="likelihood",
        pairs=True,
        prompt="A: {text} B: {text_pair} =>",
        verbalizers={"pos": "good"},
    )
    assert as_read(TABLE, likely).to_pydict() == {
        "text": ["A: fine B: dull => good"],
        "label": ["pos"],
    }


def test_heads_read_texts_as_they_are() -> None:
    assert as_read(TABLE, task(pairs=True)) is TABLE
