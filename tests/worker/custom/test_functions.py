"""Functions of the user in the task's places: what they are given, what is not taken of them."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from transformers import PreTrainedTokenizerBase

from orchestrator.errors import UserCodeError
from orchestrator.specs import TextClassification
from orchestrator.worker.custom.code import bring_code
from orchestrator.worker.custom.functions import Functions, customized, transformed
from orchestrator.worker.gang import Gang
from orchestrator.worker.models.loading import load_tokenizer
from orchestrator.worker.tasks import task_for
from orchestrator.worker.tasks.base import Task
from orchestrator.worker.tasks.text_classification import IGNORED, TextClassificationTask
from tests.worker.custom.builders import with_code
from tests.worker.tiny import launch, rows, write_base

TASK = {"type": "text-classification", "labels": ["negative", "positive"]}
DATA = {"domains": {"toy": {"train": [{"path": "/t.jsonl"}], "test": [{"path": "/t.jsonl"}]}}}
SECTIONS: dict[str, dict[str, Any]] = {
    "data.transform": {"data": {**DATA, "train_on": ["toy"], "transform": "mine:f"}},
    "data.collator": {"data": {**DATA, "train_on": ["toy"], "collator": "mine:f"}},
    "training.loss": {"training": {"epochs": 1, "loss": "mine:f"}},
    "evaluation.custom_metrics.cost": {"evaluation": {"custom_metrics": {"cost": "mine:f"}}},
}

Made = Callable[[str, str], Functions]


@pytest.fixture
def made(gang: Gang, tmp_path: Path) -> Made:
    """Functions of a spec whose one field names `mine:f`, and the text of mine.py."""

    def functions(field: str, text: str) -> Functions:
        plain = launch(tmp_path, tmp_path, runtime={"code": "/pkg"}, **SECTIONS[field])
        job = with_code(plain, {"mine.py": text})
        return Functions.of(job.spec.spec, bring_code(job, gang, tmp_path))

    return functions


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> PreTrainedTokenizerBase:
    return load_tokenizer(write_base(tmp_path_factory.mktemp("base")))


def task() -> TextClassificationTask:
    found = task_for(launch(Path("/base"), Path("/scratch")).spec.spec, Path("/base"))
    assert isinstance(found, TextClassificationTask)
    return found


def table(**columns: list[str]) -> dict[Any, pa.Table]:
    return {("toy", "train"): pa.table(columns)}


def changed(functions: Functions, tables: dict[Any, pa.Table], gang: Gang) -> Any:
    spec = launch(Path("/base"), Path("/scratch")).spec.spec
    return transformed(tables, functions, spec.task, gang)["toy", "train"].to_pydict()


# Transforms


def test_a_transform_changes_rows_and_leaves_some_out(made: Made, gang: Gang) -> None:
    functions = made(
        "data.transform",
        """
        def f(row):
            if row["text"] == "spam":
                return None
            label = {"1": "negative", "5": "positive"}[row["label"]]
            return {"text": row["text"].lower(), "label": label, "stars": row["label"]}
        """,
    )
    before = table(text=["Good", "spam", "BAD"], label=["5", "1", "1"])

    assert changed(functions, before, gang) == {
        "text": ["good", "bad"],
        "label": ["positive", "negative"],
    }
    assert before["toy", "train"].num_rows == 3


TRANSFORMS = {
    "return row['text']": r", row 1 of toy/train: gave 'fine', not None or a mapping of text and",
    "return {'text': 'a'}": r"row 1 of toy/train: gave {'text': 'a'}, not None or a mapping",
    "return {**row, 'text': ' '}": r"row 1 of toy/train: .*text",
    "return {**row, 'text': 3.5}": r"row 1 of toy/train: .*text",
    "return {**row, 'label': 'neutral'}": r"gave the label 'neutral', which the task does not know",
    "return None": r"leaves no row of toy/train$",
    "return row['stars']": r"mine:f raised KeyError: 'stars' \(mine\.py, line 2\)$",
    "raise SystemExit(0)": r"mine:f raised SystemExit: 0 \(mine\.py, line 2\)$",
}


@pytest.mark.parametrize("line", TRANSFORMS)
def test_wrong_rows_are_told_with_the_field(line: str, made: Made, gang: Gang) -> None:
    functions = made("data.transform", f"def f(row):\n    {line}\n")

    with pytest.raises(UserCodeError) as caught:
        changed(functions, table(text=["fine"], label=["positive"]), gang)

    assert caught.value.message.startswith("data.transform: mine:f")
    assert re.search(TRANSFORMS[line], caught.value.message), caught.value.message


def test_ranks_that_get_other_rows_end_together(made: Made) -> None:
    functions = made("data.transform", "def f(row):\n    return row\n")
    gang: Any = SimpleNamespace(gather=lambda mine: [mine, ["another digest"]])

    with pytest.raises(UserCodeError, match="gives other rows on each worker"):
        changed(functions, table(text=["fine"], label=["positive"]), gang)


# Losses


def test_a_loss_is_the_users_mean_over_the_rows_that_count(made: Made, gang: Gang) -> None:
    """The task's own loss, written by hand: filler rows do not count, shares add up."""
    functions = made(
        "training.loss",
        """
        import torch
        def f(logits, labels):
            return -torch.log_softmax(logits, 1)[torch.arange(len(labels)), labels].mean()
        """,
    )
    logits = torch.randn(5, 2, generator=torch.Generator().manual_seed(1))
    labels = torch.tensor([0, 1, IGNORED, 1, IGNORED])
    mine = customized(task(), functions, gang)

    summed = mine.loss_sum(SimpleNamespace(logits=logits), labels)

    assert summed == pytest.approx(task().loss_sum(SimpleNamespace(logits=logits), labels))
    parts = [
        mine.loss_sum(SimpleNamespace(logits=logits[at]), labels[at])
        for at in (slice(0, 2), slice(2, 3), slice(3, 5))
    ]
    assert sum(parts) == pytest.approx(summed)


LOSSES = {
    "return 0.5": "gave 0.5, not a tensor of one number",
    "return logits.sum(dim=1)": "not a tensor of one number",
    "return labels.sum()": "not a tensor of one number",
    "return logits.detach().sum()": "gave a loss that does not depend on the logits",
    "return logits.sum() / 'a'": r"raised TypeError: .* \(mine\.py, line 2\) \(",
}


@pytest.mark.parametrize("line", LOSSES)
def test_wrong_losses(line: str, made: Made, gang: Gang) -> None:
    functions = made("training.loss", f"def f(logits, labels):\n    {line}\n")
    outputs = SimpleNamespace(logits=torch.ones(2, 2, requires_grad=True))

    with pytest.raises(UserCodeError, match=LOSSES[line]) as caught:
        customized(task(), functions, gang).loss_sum(outputs, torch.tensor([0, 1]))

    assert caught.value.message.startswith("training.loss: mine:f")


# Collators


def encoded(tokenizer: PreTrainedTokenizerBase) -> list[dict[str, Any]]:
    found = task().encode(pa.table(rows(3)), tokenizer)
    return [found[number] for number in range(3)]


COLLATOR = """
    import torch
    def f(rows, tokenizer):
        longest = max(len(row["input_ids"]) for row in rows) + 2
        ids = [row["input_ids"] + [tokenizer.pad_token_id] * longest for row in rows]
        ids = torch.tensor([each[:longest] for each in ids])
        labels = torch.tensor([row["labels"] for row in rows])
        return {"input_ids": ids, "attention_mask": (ids != 0).long(), "labels": labels}
"""


def test_a_collator_makes_the_batch(
    made: Made, gang: Gang, tokenizer: PreTrainedTokenizerBase
) -> None:
    mine = customized(task(), made("data.collator", COLLATOR), gang)

    batch = mine.collate(encoded(tokenizer), tokenizer)

    own = task().collate(encoded(tokenizer), tokenizer)
    width = own["input_ids"].shape[1]
    assert batch["input_ids"].shape == (3, width + 2)
    assert torch.equal(batch["input_ids"][:, :width], own["input_ids"])
    assert torch.equal(batch["labels"], own["labels"])


COLLATORS = {
    "return rows": "gave no mapping of names to tensors",
    "return {'input_ids': [1]}": "gave no mapping of names to tensors",
    "return {'input_ids': torch.ones(3, 2)}": "changed the labels of its rows",
    "return {'input_ids': torch.ones(3, 2), 'labels': torch.zeros(3)}": "changed the labels",
    "return {'input_ids': torch.ones(2, 2)}": r"gave input_ids of \(2, 2\) for 3 rows",
}


@pytest.mark.parametrize("line", COLLATORS)
def test_wrong_batches(
    line: str, made: Made, gang: Gang, tokenizer: PreTrainedTokenizerBase
) -> None:
    text = f"import torch\ndef f(rows, tokenizer):\n    {line}\n"
    mine = customized(task(), made("data.collator", text), gang)

    with pytest.raises(UserCodeError, match=COLLATORS[line]):
        mine.collate(encoded(tokenizer), tokenizer)


# Metrics

LOGITS = np.array([[2.0, 0.0], [0.0, 1.0], [3.0, 0.0]])
LABELS = np.array([0, 1, 1])


def test_metrics_stand_beside_the_tasks_own(made: Made, gang: Gang) -> None:
    functions = made(
        "evaluation.custom_metrics.cost",
        """
        def f(labels, probabilities):
            assert probabilities.sum(axis=1).round(6).tolist() == [1, 1, 1]
            wrong = probabilities.argmax(axis=1) != labels
            labels[:], probabilities[:] = 0, 0  # nobody else sees it
            return 5 * wrong.sum()
        """,
    )

    found = customized(task(), functions, gang).metrics(LOGITS, LABELS)

    assert found == {**task().metrics(LOGITS, LABELS), "cost": 5.0}
    assert LABELS.tolist() == [0, 1, 1]


METRICS = {
    "return None": "gave None, not a finite number",
    "return float('nan')": "gave nan, not a finite number",
    "return probabilities": "not a finite number",
    "return labels.mean(": r"raised SyntaxError: .* \(mine\.py, line 2\) \(",
    "return mean(labels)": r"raised NameError: .* \(mine\.py, line 2\) \(",
}


@pytest.mark.parametrize("line", METRICS)
def test_wrong_figures(line: str, made: Made, gang: Gang) -> None:
    text = f"def f(labels, probabilities):\n    {line}\n"

    with pytest.raises(UserCodeError, match=METRICS[line]) as caught:
        customized(task(), made("evaluation.custom_metrics.cost", text), gang).metrics(
            LOGITS, LABELS
        )

    assert caught.value.message.startswith("evaluation.custom_metrics.cost: mine:f")


def test_without_functions_the_task_is_the_tasks_own(gang: Gang) -> None:
    own: Task = task()

    assert customized(own, Functions(), gang) is own


SETS = {**TASK, "problem": "multi_label"}
NUMBERS = {"type": "text-classification", "problem": "regression"}


@pytest.mark.parametrize(
    ("spec", "label", "line", "becomes"),
    [
        (SETS, '["negative"]', "row['label'].append('positive')", '["negative", "positive"]'),
        (NUMBERS, "1.5", "row['label'] = row['label'] * 2", "3.0"),
    ],
)
def test_a_transform_is_given_lists_and_numbers(
    spec: dict[str, Any], label: str, line: str, becomes: str, made: Made, gang: Gang
) -> None:
    functions = made("data.transform", f"def f(row):\n    {line}\n    return row\n")
    kind = TextClassification.model_validate(spec)
    found = transformed(table(text=["a"], label=[label]), functions, kind, gang)
    assert found["toy", "train"].column("label").to_pylist() == [becomes]


def test_a_label_of_a_set_must_be_known(made: Made, gang: Gang) -> None:
    functions = made("data.transform", "def f(row):\n    return {**row, 'label': ['x']}\n")
    kind = TextClassification.model_validate(SETS)
    with pytest.raises(UserCodeError, match="gave the label 'x', which the task does not know"):
        transformed(table(text=["a"], label=["[]"]), functions, kind, gang)


def test_a_loss_of_sets_is_the_users_mean_over_rows_and_labels(made: Made, gang: Gang) -> None:
    losses = made(
        "training.loss",
        "import torch\ndef f(logits, labels):\n"
        "    return torch.nn.functional.binary_cross_entropy_with_logits(logits, labels)\n",
    )
    plain = TextClassificationTask(TextClassification.model_validate(SETS), 16)
    logits = torch.tensor([[1.0, -2.0], [0.5, 0.0], [3.0, 3.0]], requires_grad=True)
    labels = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-100.0, -100.0]])
    outputs = SimpleNamespace(logits=logits)
    own = customized(plain, losses, gang)
    assert own.loss_sum(outputs, labels).item() == pytest.approx(
        plain.loss_sum(outputs, labels).item(), rel=1e-6
    )


def test_a_metric_of_sets_sees_the_probability_of_each_label(made: Made, gang: Gang) -> None:
    plain = TextClassificationTask(TextClassification.model_validate(SETS), 16)
    metrics = made(
        "evaluation.custom_metrics.cost",
        "def f(labels, probabilities):\n"
        "    assert labels.shape == probabilities.shape == (1, 2)\n"
        "    return probabilities[0, 0]\n",
    )
    figures = customized(plain, metrics, gang).metrics(np.zeros((1, 2)), np.ones((1, 2)))
    assert figures["cost"] == 0.5
