"""Texts that become several rows belong to their domains still."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from orchestrator.worker.data.pieces import Pieces
from orchestrator.worker.data.splits import encode_splits
from orchestrator.worker.models.loading import load_tokenizer
from tests.worker.tiny import launch, write_base


def test_the_rows_of_a_domain_are_counted_as_they_are_learned(tmp_path: Path) -> None:
    tokenizer = load_tokenizer(write_base(tmp_path, masks=True))
    domain = {"train": [{"path": "/a"}], "test": [{"path": "/a"}]}
    data = {"domains": {"one": domain, "two": domain}, "train_on": ["one", "two"]}
    body = launch(tmp_path, tmp_path, data=data).spec.spec
    tables = {
        ("one", "train"): pa.table({"text": ["the camera is very good " * 8, "good"]}),
        ("two", "train"): pa.table({"text": ["bad", "the movie is " * 6]}),
        ("one", "test"): pa.table({"text": ["fine"]}),
    }
    pieces = Pieces(16, split=True)

    found = encode_splits(
        body,
        tables,  # type: ignore[arg-type]
        lambda table: pieces.of(table.column("text").to_pylist(), tokenizer),
    )

    assert len(found.train) == 4 + 3  # 40 words of which 14 fit a row, and one; one, and 18
    assert {name: list(rows) for name, rows in found.train_domains.items()} == {
        "one": [0, 1, 2, 3],
        "two": [4, 5, 6],
    }
