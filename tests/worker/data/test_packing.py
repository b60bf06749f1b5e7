"""Rows side by side: every token once, each row with its own positions; chosen to cost least."""

from __future__ import annotations

import pytest
import torch

from orchestrator.worker.data.batches import IGNORED
from orchestrator.worker.data.packing import ROW_STARTS, Packing, chosen_packs, shared_out

BOTH_WAYS = Packing(hidden_size=32, is_causal=False, pad_id=9)
LENGTHS = [3, 1, 2]


def padded(*, left: bool = False) -> dict[str, torch.Tensor]:
    """Rows (10 11 12), (20), (30 31), padded with 9."""
    ids, mask = torch.full((3, 3), 9), torch.zeros((3, 3), dtype=torch.long)
    for row, length in enumerate(LENGTHS):
        where = slice(3 - length, 3) if left else slice(0, length)
        ids[row, where] = torch.arange(length) + 10 * (row + 1)
        mask[row, where] = 1
    return {"input_ids": ids, "attention_mask": mask}


@pytest.mark.parametrize("left", [False, True])
def test_rows_lie_side_by_side_without_padding(left: bool) -> None:
    labels = torch.tensor([1, 0, 1])
    packed = BOTH_WAYS.packed({**padded(left=left), "labels": labels})

    assert packed["input_ids"].tolist() == [[10, 11, 12], [20, 30, 31]]
    assert packed["position_ids"].tolist() == [[0, 1, 2], [0, 0, 1]]
    assert packed[ROW_STARTS].tolist() == [0, 3, 4]
    assert packed["labels"] is labels
    seen = packed["attention_mask"][1, 0]
    assert seen.tolist() == [[True, False, False], [False, True, True], [False, True, True]]


def test_labels_of_tokens_are_packed_too_and_none_is_invented() -> None:
    batch = {**padded(), "labels": torch.tensor([[IGNORED, 1, 2], [3, -1, -1], [4, 5, -1]])}
    causal = Packing(hidden_size=32, is_causal=True, pad_id=9, first_position=2)
    packed = causal.packed(batch)

    assert packed["labels"].tolist() == [[IGNORED, 1, 2], [3, 4, 5]]
    assert packed["position_ids"].tolist() == [[2, 3, 4], [2, 2, 3]]
    assert set(packed) == {"input_ids", "labels", "position_ids"}


def test_as_many_classes_as_tokens_are_no_tokens() -> None:
    classes = torch.ones((3, 3))
    packed = BOTH_WAYS.packed({**padded(), "labels": classes})
    assert packed["labels"] is classes


def test_flash_attention_takes_all_rows_in_one_sequence() -> None:
    flash = Packing(hidden_size=32, is_causal=True, pad_id=9, masks_nothing=True)
    assert flash.packed(padded())["input_ids"].tolist() == [[10, 11, 12, 20, 30, 31]]


def test_rows_are_shared_out_evenly() -> None:
    assert shared_out([7, 2, 5, 4, 3, 3], 3) == [[0, 1], [2, 5], [3, 4]]


@pytest.mark.parametrize(
    ("lengths", "packs"),
    [
        ([8, 8, 8], 3),  # nothing to gain
        ([60, 20, 20, 20], 2),  # two of sixty have no padding
        ([2] * 8, 8),
    ],
)
def test_the_cheapest_way_is_taken(lengths: list[int], packs: int) -> None:
    found = chosen_packs(lengths, BOTH_WAYS)
    assert len(found) == packs
    assert sorted(row for pack in found for row in pack) == list(range(len(lengths)))
