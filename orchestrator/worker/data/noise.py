"""What is hidden of a text for a model to find again: single tokens, or spans of them.

Each row's noise is a pure function of (seed, epoch, row), so that a resumed run and a gang of
another size see the same; rows that are evaluated are hidden alike every time. Shared by the tasks
of pre-training.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
from transformers import PreTrainedTokenizerBase

from orchestrator.errors import InvalidInput, Problem
from orchestrator.worker.data.batches import IGNORED, PADDING
from orchestrator.worker.data.orders import generator_of
from orchestrator.worker.data.tokens import Ids

EVALUATED = -1
"""The epoch of rows that nothing is learned from."""

KEPT_SHARE, RANDOM_SHARE = 0.1, 0.1
"""Of the tokens that are to be found, those that stay as they are and those replaced by another
(Devlin et al. 2019, arXiv:1810.04805, section 3.1)."""


class Noise(Protocol):
    """Hides a part of a row."""

    def __call__(self, ids: Ids, generator: np.random.Generator) -> tuple[Ids, Ids]:
        """(what is read, what is to be found), of which -100 does not count."""
        ...


class WholeRows(Protocol):
    """Rows of which nothing is hidden yet: `input_ids` of each."""

    lengths: np.ndarray
    targets: np.ndarray

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> dict[str, Any]: ...


class NoisyRows:
    """A map-style data set whose rows are hidden anew in each epoch.

    Index `PADDING` is the filler of the rows below.
    """

    def __init__(self, rows: WholeRows, noise: Noise, seed: int) -> None:
        """
        Args:
            rows: Whole texts.
            noise: Hides a part of each.
            seed: Of what is hidden.
        """
        self.rows = rows
        self.noise = noise
        self.seed = seed
        self.epoch = EVALUATED
        self.lengths = rows.lengths
        self.targets = rows.targets

    def set_epoch(self, epoch: int) -> None:
        """Called by the trainer before the rows of an epoch are read."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict[str, Any]:
        row = self.rows[index]
        if index == PADDING:
            return row
        generator = generator_of("noise", self.seed, self.epoch, index)
        inputs, labels = self.noise(row["input_ids"], generator)
        return {"input_ids": inputs, "labels": labels}


@dataclass(frozen=True, slots=True)
class MaskedTokens:
    """Single tokens are hidden behind the mask; the labels stand where they were."""

    share: float  # of a row's tokens
    mask_id: int
    special: frozenset[int]  # never hidden, never put in
    ordinary: np.ndarray  # ids of all other tokens

    def __call__(self, ids: Ids, generator: np.random.Generator) -> tuple[Ids, Ids]:
        able = [at for at, token in enumerate(ids) if token not in self.special]
        count = min(len(able), max(1, round(self.share * len(able))))
        hidden = generator.permutation(able)[:count]
        draws = generator.random(count)
        others = generator.choice(self.ordinary, count)
        inputs, labels = list(ids), [IGNORED] * len(ids)
        for at, draw, other in zip(hidden.tolist(), draws, others.tolist(), strict=True):
            labels[at] = ids[at]
            if draw >= KEPT_SHARE + RANDOM_SHARE:
                inputs[at] = self.mask_id
            elif draw >= KEPT_SHARE:
                inputs[at] = other
        return inputs, labels


@dataclass(frozen=True, slots=True)
class FilledSpans:
    """Each hidden span is one mask; the whole text is written (Lewis et al. 2020, text infilling,
    arXiv:1910.13461)."""

    share: float
    mean_span: float
    mask_id: int
    special: frozenset[int]

    def __call__(self, ids: Ids, generator: np.random.Generator) -> tuple[Ids, Ids]:
        before, body, after = _parts(ids, self.special)
        inputs = list(before)
        for kept, hidden in _spans(body, self.share, self.mean_span, generator):
            inputs += [*kept, *([self.mask_id] if hidden else [])]
        return [*inputs, *after], list(ids)


@dataclass(frozen=True, slots=True)
class NumberedSpans:
    """Each hidden span is a sentinel of its own; spans alone are written, each behind its sentinel
    (Raffel et al. 2020, arXiv:1910.10683, section 3.1.4)."""

    share: float
    mean_span: float
    sentinels: tuple[int, ...]  # in order
    special: frozenset[int]

    def __call__(self, ids: Ids, generator: np.random.Generator) -> tuple[Ids, Ids]:
        before, body, after = _parts(ids, self.special)
        inputs, labels = list(before), []
        most = len(self.sentinels) - 1
        spans = _spans(body, self.share, self.mean_span, generator, most)
        numbers = iter(self.sentinels)
        for kept, hidden in spans:
            inputs += kept
            if hidden:
                sentinel = next(numbers)
                inputs.append(sentinel)
                labels += [sentinel, *hidden]
        return [*inputs, *after], [*labels, next(numbers), *after]


def _parts(ids: Ids, special: frozenset[int]) -> tuple[Ids, Ids, Ids]:
    """The tokens that begin a text, its own, and those that end it."""
    own = [at for at, token in enumerate(ids) if token not in special]
    if not own:
        return ids, [], []
    first, last = own[0], own[-1] + 1
    return ids[:first], ids[first:last], ids[last:]


def _spans(
    body: Ids,
    share: float,
    mean: float,
    generator: np.random.Generator,
    most: int | None = None,
) -> list[tuple[Ids, Ids]]:
    """The text as pairs of what stays and what is hidden after it; the last hides nothing.

    A share of the tokens is hidden, at least one, in spans of a mean length, at most `most` of
    them; lengths and places are drawn alike from all there are.
    """
    if not body:
        return []
    hidden = min(len(body), max(1, round(share * len(body))))
    kept = len(body) - hidden
    # Between two spans something stays: so many fit.
    count = max(1, min(round(hidden / mean), hidden, kept + 1, most or hidden))
    lengths = _composition(hidden, count, generator)
    gaps = _composition(kept + 2, count + 1, generator)  # the outer two may be empty
    gaps[0] -= 1
    gaps[-1] -= 1
    pairs, at = [], 0
    for gap, length in zip(gaps, [*lengths, 0], strict=True):
        pairs.append((body[at : at + gap], body[at + gap : at + gap + length]))
        at += gap + length
    return pairs


def _composition(total: int, parts: int, generator: np.random.Generator) -> list[int]:
    """`parts` numbers of at least 1 with this sum, drawn alike from all there are."""
    cuts = np.sort(generator.permutation(total - 1)[: parts - 1]) + 1
    edges = [0, *cuts.tolist(), total]
    return [after - before for before, after in pairwise(edges)]


def special_ids(tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    """Tokens that are no text."""
    added = tokenizer.added_tokens_decoder
    marked = {number for number, token in added.items() if token.special}
    return frozenset({*tokenizer.all_special_ids, *marked})


def mask_id(tokenizer: PreTrainedTokenizerBase) -> int:
    """Raises InvalidInput where the base was made without one."""
    if tokenizer.mask_token_id is None:
        raise InvalidInput(
            [
                Problem(
                    "the base's tokenizer has no mask: nothing was hidden when it was pretrained",
                    path="model.base",
                    hint="choose a base that was, such as bert, roberta or bart",
                )
            ]
        )
    return int(tokenizer.mask_token_id)


def sentinel_ids(tokenizer: PreTrainedTokenizerBase) -> tuple[int, ...]:
    """T5's `<extra_id_0>` and those after it; raises InvalidInput where there are none."""
    found: list[int] = []
    words = tokenizer.get_vocab()
    while (number := words.get(f"<extra_id_{len(found)}>")) is not None:
        found.append(number)
    if len(found) < 2:
        raise InvalidInput(
            [
                Problem(
                    "the base's tokenizer has no sentinels <extra_id_0>, <extra_id_1>, …",
                    path="task.objective",
                    hint="write objective: infill, or choose a T5 as the base",
                )
            ]
        )
    return tuple(found)
