"""Scores are those of the words after the prompt; examples are drawn by the seed alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
import torch.distributed as dist
from transformers import PreTrainedTokenizerBase

from orchestrator.specs import TextClassification
from orchestrator.worker.data.batches import IGNORED, PADDING
from orchestrator.worker.evaluation.passes import EvaluationPass
from orchestrator.worker.gang import Gang
from orchestrator.worker.models.export import complete_folder, write_weights
from orchestrator.worker.models.language import causal_model
from orchestrator.worker.models.loading import load_tokenizer
from orchestrator.worker.serving.likelihood import LikelihoodPredictor
from orchestrator.worker.tasks.label_likelihood import LabelLikelihoodTask, texts_of
from tests.worker.tiny import write_causal_base

SPEC: dict[str, Any] = {
    "type": "text-classification",
    "by": "likelihood",
    "labels": ["negative", "positive"],
    "verbalizers": {"negative": "very bad", "positive": "good"},
    "prompt": "{text} =>",
}
TEXTS = ["the camera is good", "the movie is awful", "bad", "the camera is very very very fine"]
LABELS = ["positive", "negative", "negative", "positive"]


def task_of(max_length: int = 32, **fields: Any) -> LabelLikelihoodTask:
    return LabelLikelihoodTask(TextClassification.model_validate({**SPEC, **fields}), max_length)


def table(texts: list[str] | None = None, labels: list[str] | None = None) -> pa.Table:
    return pa.table({"text": texts or TEXTS, "label": labels or LABELS})


@pytest.fixture(scope="module")
def gang(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gang]:
    meeting = tmp_path_factory.mktemp("gang") / "meeting"
    dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=0, world_size=1)
    yield Gang.join()
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_causal_base(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def tokenizer(base: Path) -> PreTrainedTokenizerBase:
    return load_tokenizer(base)


def likelihood(
    model: torch.nn.Module, tokenizer: PreTrainedTokenizerBase, prompt: str, words: str
) -> float:
    """Summed log-likelihood of words after a prompt, a token at a time."""
    read = tokenizer(prompt)["input_ids"]
    total = 0.0
    for token in tokenizer(words, add_special_tokens=False)["input_ids"]:
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([read])).logits[0, -1]
        total += logits.log_softmax(-1)[token].item()
        read = [*read, token]
    return total


@pytest.mark.parametrize(
    ("normalization", "divisors"),
    [(None, (2, 1)), ("none", (1, 1)), ("characters", (len("very bad"), len("good")))],
)
def test_scores_are_log_likelihoods_of_the_words(
    normalization: str | None,
    divisors: tuple[int, int],
    base: Path,
    tokenizer: PreTrainedTokenizerBase,
    gang: Gang,
) -> None:
    task = task_of(normalization=normalization)
    model = task.build_model(base).eval()
    evaluation = EvaluationPass(task, tokenizer, gang, 3, torch.device("cpu"))
    found = evaluation.predict(model, task.encode(table(), tokenizer))
    for row, text in enumerate(TEXTS):
        expected = [
            likelihood(model, tokenizer, f"{text} =>", words) / divisor
            for words, divisor in zip(("very bad", "good"), divisors, strict=True)
        ]
        assert found[row] == pytest.approx(expected, abs=1e-4)
    figures = task.metrics(found, task.encode(table(), tokenizer).targets)
    assert figures["accuracy"] == np.mean(found.argmax(axis=1) == [1, 0, 0, 1])


def test_the_words_of_the_right_label_are_learned(tokenizer: PreTrainedTokenizerBase) -> None:
    rows = task_of().encode(table(), tokenizer)
    learned = [i for i in rows[1]["labels"] if i != IGNORED]
    assert tokenizer.convert_ids_to_tokens(learned) == ["very", "bad"]
    assert rows[1]["input_ids"][-2:] == learned
    batch = task_of().collate([rows[0], rows[PADDING]], tokenizer)
    assert int((batch["labels"] != IGNORED).sum()) == 1
    assert len(rows[PADDING]["candidates"]) == 2


def test_a_long_text_is_cut_and_never_the_prompt(tokenizer: PreTrainedTokenizerBase) -> None:
    text = " ".join(["very"] * 60)
    rows = task_of(12).encode(table([text], ["negative"]), tokenizer)
    words = tokenizer.convert_ids_to_tokens(rows[0]["input_ids"])
    assert len(words) <= 12
    assert words[-3:] == ["=>", "very", "bad"]
    assert words[0] == "[CLS]"


def test_examples_follow_from_the_seed_and_never_hold_the_row_itself(
    tokenizer: PreTrainedTokenizerBase,
) -> None:
    task = task_of(shots=2)
    task.draw(table(), key="rows/3")
    again = task_of(shots=2)
    again.draw(table(), key="rows/3")
    assert task.examples == again.examples
    assert len(task.examples) == 3
    assert {example.label for example in task.examples[:2]} == {"negative", "positive"}
    own = task.examples[0].texts[0]
    rows = task.encode(table([own, "fine"], ["positive", "positive"]), tokenizer)
    read = [" ".join(tokenizer.convert_ids_to_tokens(rows[row]["input_ids"])) for row in (0, 1)]
    assert read[0].count(f"{own} =>") == 1
    assert read[1].count(f"{own} =>") == 1
    assert [text.count("=>") for text in read] == [3, 3]


def test_pairs_stand_where_the_prompt_says() -> None:
    spec = TextClassification.model_validate(
        {**SPEC, "pairs": True, "prompt": "{text_pair} : {text} =>"}
    )
    assert spec.prompt_of(("{text_pair}", "b")) == "b : {text_pair} =>"
    plain = TextClassification.model_validate({**SPEC, "pairs": True, "prompt": None})
    assert plain.prompt_of(("a", "b")) == "a\nb\nLabel:"
    both = pa.table({"text": ["a"], "text_pair": ["b"], "label": ["positive"]})
    assert texts_of(both) == [("a", "b")]


def test_what_is_published_answers_as_it_was_measured(
    base: Path, tokenizer: PreTrainedTokenizerBase, tmp_path: Path, gang: Gang
) -> None:
    task = task_of(shots=1)
    task.draw(table(), key="rows/1")
    model = causal_model(base)
    write_weights(model, None, tmp_path)
    complete_folder(tmp_path, tokenizer)
    task.write_beside(tmp_path)
    evaluation = EvaluationPass(task, tokenizer, gang, 2, torch.device("cpu"))
    scores = evaluation.predict(model.eval(), task.encode(table(), tokenizer))
    spec = {"task": {**SPEC, "shots": 1}, "training": {"max_length": 32}}
    found = LikelihoodPredictor.load(tmp_path, spec).predict(TEXTS, batch_size=4)
    for row, prediction in zip(torch.tensor(scores).softmax(-1).tolist(), found, strict=True):
        assert prediction.probabilities == pytest.approx(
            dict(zip(SPEC["labels"], row, strict=True)), abs=1e-5
        )
