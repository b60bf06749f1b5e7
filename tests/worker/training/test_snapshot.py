"""Copies of what a checkpoint holds: the same bytes as writing at once, whatever comes after."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path
from typing import Any

import torch

from orchestrator.worker.training.snapshot import Shelf, SnapshotEngine, Snapshots


def some_state() -> dict[str, Any]:
    """What DeepSpeed's state dicts are made of: views, ties, flat partitions, scalars, nothing."""
    flat = torch.arange(12.0, requires_grad=True)
    weight = torch.nn.Parameter(torch.ones(3, 2))
    module = OrderedDict(tied=weight.detach(), head=weight.detach(), empty=torch.empty(0))
    vars(module)["_metadata"] = {"": {"version": 1}}
    return {
        "module": module,
        "groups": [flat[:7], flat[2:9].view(7, 1).t(), torch.ones(2, 3).t()],
        "optimizer": {0: {"step": torch.tensor(3.0), "exp_avg": torch.full((4,), 0.5)}},
        "rates": (1e-3, None, "cosine", torch.bfloat16),
    }


def taken(state: Any, path: Path, *, is_held: bool) -> tuple[Snapshots, list[Any]]:
    snapshots = Snapshots()
    snapshots.begin(is_held=is_held)
    SnapshotEngine(snapshots).save(state, str(path))
    return snapshots, snapshots.end()


def test_a_copy_written_later_has_the_bytes_of_what_is_written_at_once(tmp_path: Path) -> None:
    state = some_state()
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    _, nothing_left = taken(state, tmp_path / "a" / "shard.pt", is_held=True)
    _, writes = taken(state, tmp_path / "b" / "shard.pt", is_held=False)
    assert (len(nothing_left), len(writes)) == (0, 1)
    assert not (tmp_path / "b" / "shard.pt").exists()
    for write in writes:
        write()
    at_once, later = ((tmp_path / part / "shard.pt").read_bytes() for part in "ab")
    assert at_once == later


def test_what_training_does_meanwhile_is_not_in_it(tmp_path: Path) -> None:
    state = some_state()
    weights, rates = state["module"]["tied"], state["optimizer"][0]
    _, (write,) = taken(state, tmp_path / "shard.pt", is_held=False)
    weights.add_(1)
    rates["step"] += 1
    state["optimizer"].clear()
    write()
    found = torch.load(tmp_path / "shard.pt", weights_only=False)
    assert found["module"]["tied"].equal(torch.ones(3, 2))
    assert found["module"]["head"].data_ptr() == found["module"]["tied"].data_ptr()
    assert found["groups"][1].equal(torch.arange(2.0, 9.0).view(1, 7))
    assert found["optimizer"][0]["step"].item() == 3.0


def test_the_next_copy_lies_where_the_last_one_was() -> None:
    shelf = Shelf()
    first = shelf.put(torch.ones(4))
    shelf.clear()
    assert shelf.put(torch.zeros(4)).data_ptr() == first.data_ptr()
    assert first.sum() == 0
    shelf.clear()
    assert shelf.put(torch.zeros(5)).shape == (5,)
