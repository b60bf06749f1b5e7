"""Holding out validation rows, and weights."""

from __future__ import annotations

from collections import Counter

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.inspect.splits import held_out, weighted

ROWS = st.lists(st.tuples(st.sampled_from("abcdefghijkl"), st.sampled_from("xyz")), max_size=40)


def table(rows: list[tuple[str, str]]) -> pa.Table:
    texts = pa.array([text for text, _ in rows], pa.string())
    return pa.table({"text": texts, "label": pa.array([x for _, x in rows], pa.string())})


def valid_rows(rows: list[tuple[str, str]], fraction: float) -> list[tuple[str, str]] | None:
    mask = held_out(table(rows), fraction)
    if mask is None:
        return None
    return [row for row, held in zip(rows, mask.to_pylist(), strict=True) if held]


def test_each_label_gives_its_share() -> None:
    rows = [(f"text {n}", "rare" if n % 5 == 0 else "common") for n in range(100)]
    found = valid_rows(rows, 0.1)
    assert found is not None
    assert Counter(label for _, label in found) == {"common": 8, "rare": 2}


def test_the_choice_is_by_content_not_by_order() -> None:
    rows = [(f"text {n}", str(n % 3)) for n in range(60)]
    assert sorted(valid_rows(rows, 0.2) or []) == sorted(valid_rows(rows[::-1], 0.2) or [])


def test_the_choice_is_the_same_on_every_machine() -> None:
    rows = [(f"text {n}", "a" if n < 6 else "b") for n in range(12)]
    assert valid_rows(rows, 0.25) == [("text 0", "a"), ("text 4", "a"), ("text 7", "b")]


def test_a_label_with_one_text_stays_in_training() -> None:
    rows = [*((f"text {n}", "common") for n in range(9)), ("only", "rare")]
    assert ("only", "rare") not in (valid_rows(rows, 0.9) or [])


@pytest.mark.parametrize(
    "rows", [[], [("a", "x")], [("a", "x"), ("a", "x")], [("a", "x"), ("b", "y")]]
)
def test_too_few_texts_to_hold_any_out(rows: list[tuple[str, str]]) -> None:
    assert valid_rows(rows, 0.5) is None


@given(ROWS, st.floats(0.01, 0.99))
def test_both_sides_have_rows_and_share_no_text(
    rows: list[tuple[str, str]], fraction: float
) -> None:
    held = valid_rows(rows, fraction)
    if held is None:
        return
    kept = [row for row in rows if row not in held]
    assert held
    assert kept
    assert not {text for text, _ in held} & {text for text, _ in kept}
    assert len(held) + len(kept) == len(rows)


@pytest.mark.parametrize(
    ("weight", "counts"),
    [(1.0, {1: 10}), (2.0, {2: 10}), (0.5, {1: 5}), (2.5, {2: 5, 3: 5}), (0.01, {1: 1})],
)
def test_weights(weight: float, counts: dict[int, int]) -> None:
    rows = [(f"text {n}", "x") for n in range(10)]
    drawn = Counter(weighted(table(rows), weight).column("text").to_pylist())
    assert Counter(drawn.values()) == counts


def test_a_part_is_always_the_same_and_keeps_its_order() -> None:
    rows = [(f"text {n}", "x") for n in range(10)]
    one = weighted(table(rows), 0.3).column("text").to_pylist()
    other = weighted(table(rows[::-1]), 0.3).column("text").to_pylist()
    assert one == sorted(other)
    assert len(one) == 3
