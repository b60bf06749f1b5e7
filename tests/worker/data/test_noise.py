"""What is hidden of a text: how much, where, and that it is the same for everybody."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest

from orchestrator.worker.data.batches import IGNORED, PADDING
from orchestrator.worker.data.noise import FilledSpans, MaskedTokens, NoisyRows, NumberedSpans
from orchestrator.worker.data.orders import generator_of
from orchestrator.worker.data.pieces import TextPieces

START, END, MASK = 0, 1, 2
SPECIAL = frozenset({START, END, MASK, 90, 91, 92, 93})
WORDS = list(range(10, 60))
ROW = [START, *WORDS, END]
MASKED = MaskedTokens(0.2, MASK, SPECIAL, ordinary=np.arange(10, 80))
FILLED = FilledSpans(0.3, 3.0, MASK, SPECIAL)
NUMBERED = NumberedSpans(0.15, 3.0, (90, 91, 92, 93), SPECIAL)


def test_a_share_of_the_words_is_to_be_found_where_it_was() -> None:
    inputs, labels = MASKED(ROW, generator_of(1))
    hidden = [at for at, label in enumerate(labels) if label != IGNORED]
    assert len(hidden) == 10
    assert all(labels[at] == ROW[at] for at in hidden)
    assert all(inputs[at] == ROW[at] for at in range(len(ROW)) if at not in hidden)
    assert (inputs[0], inputs[-1]) == (START, END)


def test_of_ten_hidden_tokens_eight_are_masks_one_another_and_one_stays() -> None:
    kinds: Counter[str] = Counter()
    for seed in range(200):
        inputs, labels = MASKED(ROW, generator_of(seed))
        for given, label in zip(inputs, labels, strict=True):
            if label != IGNORED:
                same = "stays" if given == label else "another"
                kinds["mask" if given == MASK else same] += 1
    total = kinds.total()
    assert kinds["mask"] / total == pytest.approx(0.8, abs=0.03)
    assert kinds["stays"] / total == pytest.approx(0.1, abs=0.03)
    assert kinds["another"] / total == pytest.approx(0.1, abs=0.03)


def test_of_the_shortest_text_one_word_is_hidden_and_of_an_empty_one_none() -> None:
    _, labels = MASKED([START, 10, END], generator_of(1))
    assert labels == [IGNORED, 10, IGNORED]
    _, labels = MASKED([START, END], generator_of(1))
    assert labels == [IGNORED, IGNORED]


@pytest.mark.parametrize("seed", range(20))
def test_filled_spans_hide_their_share_and_the_whole_text_is_written(seed: int) -> None:
    inputs, labels = FILLED(ROW, generator_of(seed))
    assert labels == ROW
    assert (inputs[0], inputs[-1]) == (START, END)
    assert inputs.count(MASK) == 5  # 15 of 50 words, 3 a span
    assert len(inputs) == len(ROW) - 15 + 5
    kept = [token for token in inputs if token != MASK]
    assert kept == [token for token in ROW if token in kept], "what stays keeps its order"
    assert (MASK, MASK) not in set(pairwise(inputs))


@pytest.mark.parametrize("seed", range(20))
def test_numbered_spans_put_back_give_the_text(seed: int) -> None:
    inputs, labels = NUMBERED(ROW, generator_of(seed))
    assert labels[-1] == END
    hidden: dict[int, list[int]] = {}
    number = None
    for token in labels[:-1]:
        if token >= 90:
            number = token
            hidden[number] = []
        else:
            assert number is not None
            hidden[number].append(token)
    assert [len(span) > 0 for span in hidden.values()] == [True] * (len(hidden) - 1) + [False]
    assert list(hidden) == [90, 91, 92, 93][: len(hidden)]
    filled = [t for token in inputs for t in hidden.get(token, [token])]
    assert filled == ROW
    assert sum(map(len, hidden.values())) == 8  # of 50 words


@pytest.mark.parametrize("length", [0, 1, 2, 3, 5])
def test_short_texts_are_hidden_too(length: int) -> None:
    row = [START, *WORDS[:length], END]
    inputs, labels = FILLED(row, generator_of(3))
    assert labels == row
    assert inputs.count(MASK) == min(length, 1)
    inputs, labels = NUMBERED(row, generator_of(3))
    assert inputs.count(90) == min(length, 1)


def test_a_row_is_hidden_by_seed_epoch_and_number_alone() -> None:
    rows = TextPieces([ROW, ROW, ROW])
    one, other = NoisyRows(rows, MASKED, seed=4), NoisyRows(rows, MASKED, seed=4)
    one.set_epoch(2)
    for index in (2, 0, 1):  # whatever was asked for before
        other.set_epoch(index)
        assert other[index] != one[index] or index == 2
    other.set_epoch(2)
    assert [other[index] for index in range(3)] == [one[index] for index in range(3)]
    assert one[0] != one[1]
    assert NoisyRows(rows, MASKED, seed=5)[0] != NoisyRows(rows, MASKED, seed=4)[0]


def test_the_filler_row_counts_nothing() -> None:
    filler = NoisyRows(TextPieces([ROW]), MASKED, seed=4)[PADDING]
    assert filler == {"input_ids": ROW[:2], "labels": [IGNORED, IGNORED]}
