"""Whole histories of the control plane under faults: see `promises` for what holds in each.

`SIMULATION_HISTORIES` lives through more than CI does, `SIMULATION_SEED` begins elsewhere.
"""

from __future__ import annotations

import os
from collections import Counter

import pytest

from tests.control.simulation.many import live_through_many
from tests.control.simulation.world import live_through

HISTORIES = int(os.environ.get("SIMULATION_HISTORIES", "150"))
FIRST_SEED = int(os.environ.get("SIMULATION_SEED", "1"))


@pytest.mark.timeout(max(300, HISTORIES * 5))
def test_promises_hold_in_every_history() -> None:
    seeds = range(FIRST_SEED, FIRST_SEED + HISTORIES)
    broken = [(seed, what) for seed, what in live_through_many(seeds) if what is not None]
    told = "\n".join(
        f"python -m tests.control.simulation {seed}\n    {what}" for seed, what in broken
    )
    assert not broken, f"{len(broken)} of {HISTORIES} histories broke a promise; replay:\n{told}"


def test_a_seed_tells_the_same_history_again() -> None:
    first, _ = live_through(7)
    live_through(8)
    second, _ = live_through(7)
    assert len(first.trace) > 20
    assert first.trace == second.trace


def test_histories_have_everything_happen_that_promises_are_about() -> None:
    """A simulation in which nothing goes wrong would promise nothing."""
    seen: Counter[str] = Counter()
    for seed in range(40):
        world, _ = live_through(seed)
        text = "\n".join(line for _, line in world.trace)
        seen.update(what for what in EVENTS if what in text)
    assert not [what for what in EVENTS if not seen[what]]


EVENTS = (
    *("killed at", "stands still", "the store is away", "the database is away"),
    *("restarted empty", "is lost", ": away", "hangs at step"),
    *("(Preempted)", "(Hang)", "(WorkerLost)", "(NodeLost)", "(OutOfMemory)", "(NoOutcome)"),
    *("(LaunchFailed)", "(StoreUnavailable)", "(UserError)", "(Diverged)", "(DependencyFailed)"),
    *("SaveRequested", "StacksRequested", "Adopted", "AbandonedEnded", "(DeadlineExceeded)"),
    *("-> SUSPENDED", "-> CANCELLED", "-> SUCCEEDED", "-> FAILED"),
)
