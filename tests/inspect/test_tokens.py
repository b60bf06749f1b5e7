"""Token lengths from tokenizer.json."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from orchestrator.errors import InvalidInput
from orchestrator.inspect.tokens import SAMPLE_ROWS, token_facts


@pytest.fixture
def tokenizer_file(tmp_path: Path) -> Path:
    """One token a word, and one at each end."""
    vocabulary = {"[UNK]": 0, "[CLS]": 1, "[SEP]": 2, "word": 3}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    tokenizer.enable_truncation(4)  # as a published tokenizer may have it
    tokenizer.enable_padding(length=4)
    file = tmp_path / "tokenizer.json"
    tokenizer.save(str(file))
    return file


def texts(*lengths: int) -> pa.Table:
    return pa.table({"text": ["word " * n for n in lengths], "label": ["x"] * len(lengths)})


def test_lengths_count_special_tokens_and_whole_texts(tokenizer_file: Path) -> None:
    found = token_facts({("d", "test"): texts(1, 2, 3, 8)}, tokenizer_file, max_length=5)
    assert found is not None
    facts = found["d", "test"]
    assert (facts.domain, facts.split, facts.num_sampled) == ("d", "test", 4)
    assert facts.mean == (3 + 4 + 5 + 10) / 4
    assert facts.mean_kept == (3 + 4 + 5 + 5) / 4
    assert (facts.p95, facts.max, facts.truncated_share) == (10, 10, 0.25)


def test_long_texts_may_become_several_rows(tokenizer_file: Path) -> None:
    """Of five tokens each, three of which are the text's own: 1, 1, 1 and 3 rows."""
    found = token_facts({("d", "train"): texts(1, 2, 3, 8)}, tokenizer_file, 5, split=True)
    assert found is not None
    facts = found["d", "train"]
    assert facts.pieces == 6 / 4
    assert facts.mean_kept == (3 + 4 + 5 + 5 + 5 + 4) / 4
    assert (facts.p95, facts.max, facts.truncated_share) == (5, 5, 0.0)


def test_large_splits_are_sampled_and_always_alike(tokenizer_file: Path) -> None:
    table = texts(*(n % 50 for n in range(3 * SAMPLE_ROWS)))
    one = token_facts({("d", "train"): table}, tokenizer_file, 128)
    assert one == token_facts({("d", "train"): table}, tokenizer_file, 128)
    assert one is not None
    facts = one["d", "train"]
    assert facts.num_sampled == 2000
    assert facts.mean == pytest.approx(26.5, abs=1.0)


def test_a_folder_without_tokenizer_json(tmp_path: Path) -> None:
    assert token_facts({("d", "test"): texts(1)}, tmp_path / "tokenizer.json", 8) is None


def test_a_damaged_tokenizer(tmp_path: Path) -> None:
    file = tmp_path / "tokenizer.json"
    file.write_text('{"model": ')
    with pytest.raises(InvalidInput, match="is not a tokenizer") as caught:
        token_facts({("d", "test"): texts(1)}, file, 8)
    assert caught.value.problems[0].path == "model.base"
