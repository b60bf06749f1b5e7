"""Many histories, in one process or shared among several. Called by the test and the command."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from tests.control.simulation.world import live_through

AT_ONCE = 8  # histories that a process takes at a time

KINDS = (
    *("killed at", "stands still", "the store is away", "the database is away"),
    *("restarted empty", "is lost", ": away", "hangs at step"),
    *("(Preempted)", "(Hang)", "(WorkerLost)", "(NodeLost)", "(OutOfMemory)", "(NoOutcome)"),
    *("(LaunchFailed)", "(StoreUnavailable)", "(UserError)", "(Diverged)", "(DependencyFailed)"),
    *("StacksRequested", "Adopted", "AbandonedEnded", "(DeadlineExceeded)"),
    *("-> SUSPENDED", "-> CANCELLED", "-> SUCCEEDED", "-> FAILED"),
)
"""What the traces of many histories should tell of."""


class Lived(NamedTuple):
    """What became of a history."""

    seed: int
    broken: str | None  # the promise that was
    seen: frozenset[str]  # of KINDS


def live_through_many(seeds: Iterable[int], processes: int = 1) -> Iterator[Lived]:
    if processes == 1:
        yield from map(lived, seeds)
        return
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        yield from pool.imap(lived, seeds, AT_ONCE)


def lived(seed: int) -> Lived:
    world, broken = live_through(seed)
    text = "\n".join(line for _, line in world.trace)
    seen = frozenset(kind for kind in KINDS if kind in text)
    return Lived(seed, None if broken is None else f"{type(broken).__name__}: {broken}", seen)
