"""Many histories, in one process or shared among several. Called by the test and the command."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterable, Iterator

from tests.control.simulation.world import live_through

AT_ONCE = 8  # histories that a process takes at a time


def live_through_many(seeds: Iterable[int], processes: int = 1) -> Iterator[tuple[int, str | None]]:
    """Each seed, with what went wrong in its history, if anything did."""
    if processes == 1:
        yield from map(told, seeds)
        return
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        yield from pool.imap(told, seeds, AT_ONCE)


def told(seed: int) -> tuple[int, str | None]:
    _, broken = live_through(seed)
    return seed, None if broken is None else f"{type(broken).__name__}: {broken}"
