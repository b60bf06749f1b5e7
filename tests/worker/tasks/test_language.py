"""Rows of the tasks that predict tokens: what is read, what is learned, what is written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch

from orchestrator.specs import FreezeMethod, GenerationSpec
from orchestrator.worker.data.batches import PADDING
from orchestrator.worker.evaluation.generation import Writer, chosen_rows
from orchestrator.worker.models.loading import load_model, load_tokenizer, on_device
from orchestrator.worker.tasks import task_for
from orchestrator.worker.tasks.base import WritesTexts
from orchestrator.worker.training.methods import freeze
from tests.worker.tiny import launch, pairs, write_causal_base, write_seq2seq_base

BEGIN, END, NONE = 2, 3, -100
LENGTHS = {"max_length": 8, "max_target_length": 6}


@pytest.fixture(scope="module")
def causal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_causal_base(tmp_path_factory.mktemp("causal"))


@pytest.fixture(scope="module")
def seq2seq(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_seq2seq_base(tmp_path_factory.mktemp("seq2seq"))


class Bench:
    def __init__(self, base: Path, folder: Path, section: dict[str, Any]) -> None:
        lengths = LENGTHS if section["type"] == "translation" else {"max_length": 8}
        spec = launch(base, folder, task=section, training=lengths, evaluation={}).spec.spec
        self.base = base
        self.task = task_for(spec, base)
        self.tokenizer = load_tokenizer(base)

    def ids(self, words: str) -> list[int]:
        found = self.tokenizer.convert_tokens_to_ids(words.split())
        assert isinstance(found, list)
        return found

    def encode(self, **columns: list[str]) -> Any:
        return self.task.encode(pa.table(columns), self.tokenizer)


def test_all_of_a_text_is_learned_but_its_first_token(causal: Path, tmp_path: Path) -> None:
    bench = Bench(causal, tmp_path, {"type": "causal-lm"})
    rows = bench.encode(text=["the camera", "very very very very very very very very good"])
    camera = bench.ids("the camera")
    assert rows[0] == {
        "input_ids": [BEGIN, *camera, END],
        "labels": [NONE, *camera, END],
    }
    assert len(rows[1]["input_ids"]) == 8
    assert rows[PADDING]["labels"] == [NONE, NONE]


def test_a_completion_is_learned_and_its_prompt_read(causal: Path, tmp_path: Path) -> None:
    bench = Bench(causal, tmp_path, {"type": "causal-lm", "rows": "completion"})
    rows = bench.encode(prompt=["the camera is"], completion=["very good"])
    read, learned = bench.ids("the camera is"), bench.ids("very good")
    assert rows[0] == {
        "input_ids": [BEGIN, *read, *learned, END],
        "labels": [NONE] * 4 + [*learned, END],
    }


def test_of_a_chat_what_the_assistant_says_is_learned(causal: Path, tmp_path: Path) -> None:
    bench = Bench(causal, tmp_path, {"type": "causal-lm", "rows": "chat"})
    bench.task.max_length = 64  # type: ignore[attr-defined]
    chat = [
        {"role": "user", "content": "the camera"},
        {"role": "assistant", "content": "is good"},
        {"role": "user", "content": "very"},
        {"role": "assistant", "content": "great"},
    ]
    row = bench.encode(messages=[json.dumps(chat)])[0]
    first = "user : the camera [SEP] assistant : is good [SEP]"
    second = "user : very [SEP] assistant : great [SEP]"
    assert row["input_ids"] == bench.ids(f"{first} {second}")
    learned = [id for id in row["labels"] if id != NONE]
    assert learned == bench.ids("is good [SEP] great [SEP]")


def test_a_decoder_is_fed_what_it_should_have_written(seq2seq: Path, tmp_path: Path) -> None:
    bench = Bench(seq2seq, tmp_path, {"type": "translation"})
    rows = bench.encode(source=["the camera", "good"], target=["die kamera", "gut"])
    batch = bench.task.collate([rows[0], rows[1], rows[PADDING]], bench.tokenizer)
    die, kamera, gut = bench.ids("die kamera gut")
    assert batch["labels"].tolist() == [[die, kamera, END], [gut, END, NONE], [NONE, NONE, NONE]]
    assert batch["decoder_input_ids"].tolist() == [[0, die, kamera], [0, gut, 0], [0, 0, 0]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1], [1, 1, 0], [1, 1, 0]]


def test_of_a_long_source_the_end_is_cut_never_the_prompt(causal: Path, tmp_path: Path) -> None:
    bench = Bench(causal, tmp_path, {"type": "translation", "prompt": "is {source} =>"})
    source = " ".join(["very"] * 20)
    rows = bench.encode(source=[source], target=["gut gut gut gut gut gut gut gut"])
    (arrow,), (very,) = bench.ids("=>"), bench.ids("very")
    prompt = rows.prompts[0]
    assert len(prompt) == 8
    assert (prompt[0], prompt[1], prompt[-1]) == (BEGIN, bench.ids("is")[0], arrow)
    assert set(prompt[2:-1]) == {very}
    assert len(rows[0]["input_ids"]) == 8 + 6
    assert rows[0]["input_ids"][-1] == END


@pytest.mark.parametrize("kind", ["causal", "seq2seq"])
@pytest.mark.parametrize("beams", [1, 3])
def test_what_is_written_does_not_depend_on_the_batch(
    kind: str, beams: int, causal: Path, seq2seq: Path, tmp_path: Path
) -> None:
    """Prompts of differing length share a batch: padding must change nothing."""
    bench = Bench(causal if kind == "causal" else seq2seq, tmp_path, {"type": "translation"})
    model = on_device(load_model(bench.task, bench.base, bench.tokenizer, 1), torch.device("cpu"))
    rows = bench.encode(**pairs(9))
    assert isinstance(bench.task, WritesTexts)
    written = []
    for size in (1, 4):
        settings = GenerationSpec(batch_size=size, max_new_tokens=6, num_beams=beams)
        writer = Writer(model, bench.tokenizer, settings, bench.task.writes_after_prompt)
        written.append(writer.write(rows.prompts))
    assert written[0] == written[1]
    assert len(written[0]) == 9


def test_rows_to_write_for_are_spread_over_the_split() -> None:
    assert chosen_rows(3, 5).tolist() == [0, 1, 2]
    assert chosen_rows(9, 3).tolist() == [0, 4, 8]


@pytest.mark.parametrize("kind", ["causal", "seq2seq"])
def test_freezing_leaves_the_upper_layers(
    kind: str, causal: Path, seq2seq: Path, tmp_path: Path
) -> None:
    bench = Bench(causal if kind == "causal" else seq2seq, tmp_path, {"type": "translation"})
    model = load_model(bench.task, bench.base, bench.tokenizer, 1)
    freeze.apply(FreezeMethod(type="freeze", num_layers=1), model)
    frozen = {name for name, p in model.named_parameters() if not p.requires_grad}
    if kind == "causal":
        assert {name.split(".")[1] for name in frozen} == {"embed_tokens", "layers"}
        assert all("layers.0." in name for name in frozen if "layers" in name)
    else:
        assert "shared.weight" in frozen
        assert all(name == "shared.weight" or "encoder.block.0." in name for name in frozen)
