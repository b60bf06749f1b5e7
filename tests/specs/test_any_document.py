"""Whatever a document holds, loading it ends in a spec or in problems, never in a traceback."""

from __future__ import annotations

import copy
import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.specs.checks import check_spec
from orchestrator.specs.fields import all_fields
from orchestrator.specs.loading import load_document
from tests.specs.builders import document

NAMES = st.sampled_from(sorted({ref.name for ref in all_fields()} | {"lr", "x", "freeze", "[key]"}))
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 10**6),
    st.floats(allow_nan=False),
    st.sampled_from(["full", "freeze", "camera", "s3://k:s@b/x", "hf://", "", "a/b", "1e5"]),
    st.text(max_size=8),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=8,
)


def places(value: Any, above: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    children: Any = ()
    if isinstance(value, dict):
        children = value.items()
    elif isinstance(value, list):
        children = enumerate(value)
    return [above, *(p for key, child in children for p in places(child, (*above, key)))]


FULL = document(
    method={"type": "freeze", "num_layers": 2},
    training={"epochs": 2, "early_stopping": {"patience": 2}},
    engine={"zero_stage": 2},
    selection={"metric": "camera/macro_f1"},
    evaluation={"metrics": ["accuracy"]},
    output={"store": "models"},
)
PLACES = [place for place in places(FULL) if place]


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(PLACES), NAMES, VALUES), min_size=1, max_size=3))
def test_any_document_is_answered(changes: list[tuple[tuple[str | int, ...], str, Any]]) -> None:
    changed: Any = copy.deepcopy(FULL)
    for place, name, value in changes:
        holder = changed
        try:
            for step in place[:-1]:
                holder = holder[step]
            holder[place[-1]] = value
            if isinstance(value, dict):
                value[name] = 1
        except (KeyError, IndexError, TypeError):
            continue  # an earlier change took the place away
    found = load_document(json.dumps(changed))
    assert found.problems or found.usable is not None
    assert all(problem.message and problem.file for problem in found.problems)
    if found.usable is not None:
        check_spec(found.usable, doubtful=found.doubtful)


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=60), st.lists(st.text(max_size=20), max_size=2))
def test_any_text_is_answered(text: str, sets: list[str]) -> None:
    found = load_document(text, sets=sets)
    assert found.problems
    assert found.usable is None or found.doubtful
