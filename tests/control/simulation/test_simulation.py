"""Whole histories of the control plane under faults: see `promises` for what holds in each.

`SIMULATION_HISTORIES` lives through more than CI does, `SIMULATION_SEED` begins elsewhere.
"""

from __future__ import annotations

import os

import pytest

from tests.control.simulation.many import KINDS, live_through_many
from tests.control.simulation.world import live_through

HISTORIES = int(os.environ.get("SIMULATION_HISTORIES", "150"))
FIRST_SEED = int(os.environ.get("SIMULATION_SEED", "1"))
ENOUGH = 100  # for everything to happen


@pytest.mark.timeout(max(600, HISTORIES * 5))
def test_promises_hold_in_every_history() -> None:
    found = list(live_through_many(range(FIRST_SEED, FIRST_SEED + HISTORIES)))
    broken = [
        f"python -m tests.control.simulation {history.seed}\n    {history.broken}"
        for history in found
        if history.broken is not None
    ]
    assert not broken, "\n".join([f"{len(broken)} of {HISTORIES} broken; replay:", *broken])
    # Where nothing goes wrong, promises are easily kept.
    missing = set(KINDS).difference(*(history.seen for history in found))
    assert not missing or HISTORIES < ENOUGH


def test_a_seed_tells_the_same_history_again() -> None:
    first, _ = live_through(7)
    live_through(8)
    second, _ = live_through(7)
    assert len(first.trace) > 20
    assert first.trace == second.trace
