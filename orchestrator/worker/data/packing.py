"""Micro-batches without padding: rows side by side in fewer, fuller sequences.

A batch as a task's `collate` made it, padded, becomes packs: each row keeps its own positions and
sees its own tokens only, so that the loss is that of the padded batch. Pure tensors in, tensors
out; called by the trainer. How a model is told where rows are is `models.packed`'s affair.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from orchestrator.worker.data.batches import IGNORED

ROW_STARTS = "row_starts"
"""Key of a packed batch whose labels belong to rows: where each begins among all tokens."""

_LABELS = "labels"


@dataclass(frozen=True, slots=True)
class Packing:
    """How packs are made for one model."""

    hidden_size: int  # beside the length it tells what attention costs
    is_causal: bool
    pad_id: int
    first_position: int = 0  # some models count from behind their padding index
    masks_nothing: bool = False  # flash attention finds the rows by their positions

    def packed(self, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Packs instead of padded rows: every (rows, tokens) tensor becomes (packs, tokens).

        Adds `position_ids`. `attention_mask` becomes (packs, 1, tokens, tokens) for a model that
        reads both ways; a causal one works the rows out from the positions. Labels of rows stay
        as they are, beside `ROW_STARTS`.
        """
        is_token = batch["attention_mask"].bool()
        rows = is_token.sum(dim=1).tolist()
        packs = [list(range(len(rows)))] if self.masks_nothing else chosen_packs(rows, self)
        length = max(sum(rows[row] for row in pack) for pack in packs)
        filled = {
            name: _laid_out(values, is_token, packs, self._filler(name), length)
            for name, values in batch.items()
            if name != "attention_mask" and _is_of_tokens(values, is_token)
        }
        places = torch.arange(is_token.shape[1]).expand_as(is_token)
        first = is_token.int().argmax(dim=1, keepdim=True)  # a row may be padded on the left
        positions = places - first + self.first_position
        filled["position_ids"] = _laid_out(positions, is_token, packs, self.first_position, length)
        whole = {name: values for name, values in batch.items() if name not in filled}
        del whole["attention_mask"]
        if not self.is_causal:
            filled["attention_mask"] = _same_row(is_token, packs, length)
        if _LABELS in whole:
            filled[ROW_STARTS] = _starts(rows, packs, length)
        return {**whole, **filled}

    def _filler(self, name: str) -> int:
        return {"input_ids": self.pad_id, _LABELS: IGNORED}.get(name, 0)


def chosen_packs(lengths: Sequence[int], how: Packing) -> list[list[int]]:
    """The cheapest of the ways to share rows among some packs; rows in order within each.

    A token costs what its layers multiply, which the hidden size tells, and attention over its
    pack: few long packs have little padding, many short ones little attention.
    """

    def cost(packs: list[list[int]]) -> float:
        longest = max(sum(lengths[row] for row in pack) for pack in packs)
        return len(packs) * longest * (2 * how.hidden_size + longest)

    ways = (shared_out(lengths, number) for number in range(1, len(lengths) + 1))
    return min(ways, key=cost)


def shared_out(lengths: Sequence[int], num_packs: int) -> list[list[int]]:
    """Rows in packs of like size: the longest first, each to the pack that has least.

    Graham 1969 (SIAM J. Appl. Math. 17(2)): at most a third larger than the best there is.
    """
    packs: list[list[int]] = [[] for _ in range(num_packs)]
    heap = [(0, number) for number in range(num_packs)]
    for row in sorted(range(len(lengths)), key=lambda row: (-lengths[row], row)):
        filled, number = heapq.heappop(heap)
        packs[number].append(row)
        heapq.heappush(heap, (filled + lengths[row], number))
    return [sorted(pack) for pack in packs]


def _is_of_tokens(values: torch.Tensor, is_token: torch.Tensor) -> bool:
    """Not classes of rows, of which there may be as many as tokens: those are no whole numbers."""
    return values.shape == is_token.shape and not values.is_floating_point()


def _laid_out(
    values: torch.Tensor, is_token: torch.Tensor, packs: list[list[int]], filler: int, length: int
) -> torch.Tensor:
    """(rows, tokens) without its padding as (packs, length), filled up on the right."""
    laid = values.new_full((len(packs), length), filler)
    for number, pack in enumerate(packs):
        tokens = torch.cat([values[row][is_token[row]] for row in pack])
        laid[number, : len(tokens)] = tokens
    return laid


def _same_row(is_token: torch.Tensor, packs: list[list[int]], length: int) -> torch.Tensor:
    """(packs, 1, length, length): whether two places of a pack belong to one row."""
    numbers = torch.arange(1, len(is_token) + 1).unsqueeze(1).expand_as(is_token)
    row = _laid_out(numbers, is_token, packs, 0, length)  # what is left over sees itself alone
    return (row.unsqueeze(2) == row.unsqueeze(1)).unsqueeze(1)


def _starts(lengths: Sequence[int], packs: list[list[int]], length: int) -> torch.Tensor:
    """Where each row begins when the packs lie one behind the other."""
    starts = torch.zeros(len(lengths), dtype=torch.long)
    for number, pack in enumerate(packs):
        at = number * length
        for row in pack:
            starts[row] = at
            at += lengths[row]
    return starts
