"""Pre-training: rows of long texts, and a result that is the base of the next job."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch
from transformers import PreTrainedModel

from orchestrator.errors import InvalidInput
from orchestrator.worker.data.batches import IGNORED
from orchestrator.worker.models.export import complete_folder, write_weights
from orchestrator.worker.models.loading import load_model, load_tokenizer
from orchestrator.worker.tasks import task_for
from orchestrator.worker.tasks.base import HidesTokens, Task
from tests.worker.tiny import launch, write_base, write_causal_base, write_seq2seq_base

MASKED: dict[str, Any] = {"type": "masked-lm"}
DENOISING: dict[str, Any] = {"type": "denoising", "objective": "infill", "masked_share": 0.3}
LONG = ["the camera is very good " * 8, "the movie"]


def task_of(base: Path, task: dict[str, Any], max_length: int = 16, **method: Any) -> Task:
    order = launch(
        base,
        base,
        task=task,
        method={"type": "pretrain", **method},
        training={"max_length": max_length},
        selection={"metric": "toy/loss", "mode": "min"},
        evaluation={},
    )
    return task_for(order.spec.spec, base)


def rows_of(base: Path, task: Task) -> list[list[int]]:
    encoded = task.encode(pa.table({"text": LONG}), load_tokenizer(base))
    return [encoded[index]["input_ids"] for index in range(len(encoded))]


def test_a_long_text_becomes_rows_of_which_each_is_a_text(tmp_path: Path) -> None:
    base = write_base(tmp_path, masks=True)
    first, second, third, last = rows_of(base, task_of(base, MASKED))
    assert [len(row) for row in (first, second, third, last)] == [16, 16, 14, 4]
    start, end = 2, 3
    assert {(row[0], row[-1]) for row in (first, second, third)} == {(start, end)}
    words = [*first[1:-1], *second[1:-1], *third[1:-1]]
    assert words == load_tokenizer(base)(LONG[0])["input_ids"][1:-1]


def test_a_long_text_may_be_cut_instead(tmp_path: Path) -> None:
    base = write_base(tmp_path, masks=True)
    cut = task_of(base, MASKED, split_texts=False)
    assert [len(row) for row in rows_of(base, cut)] == [16, 4]
    assert cut.version != task_of(base, MASKED).version


def test_a_long_text_of_a_causal_model_is_learned_whole(tmp_path: Path) -> None:
    base = write_causal_base(tmp_path)
    rows = rows_of(base, task_of(base, {"type": "causal-lm"}))
    start, end = 2, 3
    assert [len(row) for row in rows] == [16, 16, 12, 4]
    assert all(row[0] == start for row in rows)
    assert [row[-1] == end for row in rows] == [False, False, True, True]
    assert [
        len(r) for r in rows_of(base, task_of(base, {"type": "causal-lm"}, split_texts=False))
    ] == [16, 4]


def test_a_batch_of_hidden_tokens(tmp_path: Path) -> None:
    base = write_base(tmp_path, masks=True)
    task, tokenizer = task_of(base, MASKED), load_tokenizer(base)
    assert isinstance(task, HidesTokens)
    rows = task.hidden(task.encode(pa.table({"text": LONG}), tokenizer), tokenizer)
    batch = task.collate([rows[0], rows[3]], tokenizer)
    assert batch["input_ids"].shape == batch["labels"].shape == (2, 16)
    assert (batch["labels"] != IGNORED).sum(dim=1).tolist() == [2, 1]
    assert batch["attention_mask"].sum(dim=1).tolist() == [16, 4]


def test_a_batch_of_hidden_spans(tmp_path: Path) -> None:
    base = write_seq2seq_base(tmp_path, masks=True)
    task, tokenizer = task_of(base, DENOISING), load_tokenizer(base)
    assert isinstance(task, HidesTokens)
    rows = task.hidden(task.encode(pa.table({"text": LONG}), tokenizer), tokenizer)
    batch = task.collate([rows[0]], tokenizer)
    whole = rows.rows[0]["input_ids"]  # type: ignore[attr-defined]
    assert batch["labels"][0].tolist() == whole
    assert batch["decoder_input_ids"][0].tolist() == [0, *whole[:-1]]
    assert tokenizer.mask_token_id in batch["input_ids"][0].tolist()


@pytest.mark.parametrize("kind", ["mask", "sentinels"])
def test_a_base_that_cannot_hide_is_refused(kind: str, tmp_path: Path) -> None:
    base = write_seq2seq_base(tmp_path)
    objective = {"mask": "infill", "sentinels": "spans"}[kind]
    task, tokenizer = task_of(base, {**DENOISING, "objective": objective}), load_tokenizer(base)
    assert isinstance(task, HidesTokens)
    with pytest.raises(InvalidInput, match=f"has no {kind}"):
        task.hidden(task.encode(pa.table({"text": LONG}), tokenizer), tokenizer)


def published(base: Path, task: Task, folder: Path) -> PreTrainedModel:
    """The base as a job of the task would publish it, its weights changed."""
    tokenizer = load_tokenizer(base)
    model = load_model(task, base, tokenizer, seed=1)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.01)
    write_weights(model, None, folder)
    complete_folder(folder, tokenizer)
    return model


def test_a_pretrained_encoder_is_the_base_of_a_classifier(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    base = write_base(tmp_path / "base", masks=True)
    result = tmp_path / "result"
    trained = published(base, task_of(base, MASKED), result)
    order = launch(result, tmp_path)
    with caplog.at_level(logging.WARNING, logger="transformers"):
        model = load_model(task_for(order.spec.spec, result), result, load_tokenizer(result), 1)
    state, source = model.state_dict(), trained.state_dict()
    backbone = [name for name in state if name.startswith("bert.")]
    assert any("pooler" in name for name in backbone)
    for name in backbone:
        assert torch.equal(state[name], source[name]), name
    assert not [r for r in caplog.records if "bert." in r.getMessage()], caplog.text


def test_a_pretrained_encoder_decoder_is_the_base_of_a_translation(tmp_path: Path) -> None:
    base = write_seq2seq_base(tmp_path / "base", masks=True)
    result = tmp_path / "result"
    trained = published(base, task_of(base, DENOISING), result)
    order = launch(
        result, tmp_path, task={"type": "translation"}, training={"max_target_length": 8}
    )
    model = load_model(task_for(order.spec.spec, result), result, load_tokenizer(result), 2)
    source = trained.state_dict()
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, source[name]), name
