"""Encoded rows kept on a node: equal to those that were encoded, whatever happens to the files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from orchestrator.worker.data.batches import PADDING
from orchestrator.worker.data.encoding import Place, RowEncoder
from orchestrator.worker.data.stored import RowCache, StoredRows
from orchestrator.worker.models.loading import load_tokenizer
from orchestrator.worker.tasks import task_for
from orchestrator.worker.tasks.base import Encoded
from tests.worker.tiny import (
    launch,
    pairs,
    rows,
    texts,
    write_base,
    write_causal_base,
    write_seq2seq_base,
)

CLASSIFY = {"type": "text-classification", "labels": ["negative", "positive"]}
KINDS: dict[str, Any] = {
    "classes": (write_base, CLASSIFY, rows(9)),
    "tokens": (write_causal_base, {"type": "causal-lm"}, texts(9)),
    "texts": (write_seq2seq_base, {"type": "translation"}, pairs(9)),
}


class Bench:
    """Encodes with a cache of its own, and counts how often it had to."""

    def __init__(self, folder: Path, kind: str = "classes", **training: Any) -> None:
        write, task, table = KINDS[kind]
        base = folder / kind
        if not base.exists():
            write(base)
        lengths = {"max_length": 8, "max_target_length": 6, **training}
        self.spec = launch(base, folder, task=task, training=lengths).spec.spec
        self.task = task_for(self.spec, base)
        self.table = pa.table(table)
        self.base = base
        self.cache = RowCache(folder / "rows", 1_000_000)
        self.tokenizer = load_tokenizer(base, self.task)
        self.encoded = 0

    def encode(self, table: pa.Table | None = None) -> Encoded:
        encoder = RowEncoder.of(self.spec, self.task, self.tokenizer, Place(self.base, self.cache))
        before = set(self.files())
        found = encoder(self.table if table is None else table)
        self.encoded += bool(set(self.files()) - before)
        return found

    def files(self) -> list[Path]:
        return sorted(self.cache.folder.glob("*.arrow"))


@pytest.mark.parametrize("kind", KINDS)
def test_stored_rows_equal_those_that_are_encoded(kind: str, tmp_path: Path) -> None:
    bench = Bench(tmp_path, kind)
    fresh: Any = bench.task.encode(bench.table, bench.tokenizer)
    bench.encode()
    stored: Any = bench.encode()

    assert isinstance(stored, StoredRows)
    assert [stored[n] for n in (*range(9), PADDING)] == [fresh[n] for n in (*range(9), PADDING)]
    assert len(stored) == len(fresh)
    for name in ("lengths", "targets"):
        np.testing.assert_array_equal(getattr(stored, name), getattr(fresh, name))
        assert getattr(stored, name).dtype == getattr(fresh, name).dtype
    for name in fresh.beside:
        assert list(getattr(stored, name)) == getattr(fresh, name)
    assert bench.encoded == 1


def test_what_decides_the_rows_is_in_their_key(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.encode()
    bench.encode(bench.table.slice(0, 5))
    Bench(tmp_path, max_length=6).encode()
    with (bench.base / "tokenizer_config.json").open("a") as config:
        config.write("\n")
    bench.encode()

    assert len(bench.files()) == 4


def test_a_damaged_file_is_made_anew(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    first = bench.encode()
    (file,) = bench.files()
    whole = file.read_bytes()
    file.write_bytes(whole[:100] + b"\x07" + whole[101:])
    again = bench.encode()

    assert [again[n] for n in range(9)] == [first[n] for n in range(9)]
    assert bench.files()[0].read_bytes() == whole


def test_the_least_used_go_first(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.encode()
    (oldest,) = bench.files()
    size = oldest.stat().st_size
    small = RowCache(bench.cache.folder, 2 * size)
    for number in (1, 2, 3):
        small.rows(f"{number}", lambda: bench.task.encode(bench.table, bench.tokenizer))
    kept = bench.files()

    assert sum(file.stat().st_size for file in kept) <= 2 * size
    assert any(file.name.startswith("3.") for file in kept), "what was just written stays"
    assert oldest not in kept


def test_a_folder_that_takes_nothing_costs_only_time(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    (tmp_path / "rows").write_text("no folder")

    assert len(bench.encode()) == 9


def test_the_tokenizer_is_left_as_it_was(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    before = bench.tokenizer.backend_tokenizer.to_str()
    bench.encode()

    assert bench.tokenizer.backend_tokenizer.to_str() == before
