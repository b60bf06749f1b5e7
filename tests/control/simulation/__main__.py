"""`python -m tests.control.simulation SEED [--histories M] [--processes P]`: replays, or runs many.

One history is told step by step; of several, those that break a promise, each with its seed.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence

from tests.control.simulation.many import live_through_many
from tests.control.simulation.world import live_through


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.control.simulation", description=__doc__.partition("\n")[2].strip()
    )
    parser.add_argument("seed", type=int, help="the first one")
    parser.add_argument("--histories", type=int, default=1, help="how many, from that seed on")
    parser.add_argument("--processes", type=int, default=1, help="among which they are shared")
    asked = parser.parse_args(arguments)
    if asked.histories == 1:
        return _replay(asked.seed)
    started, num_broken = time.monotonic(), 0
    seeds = range(asked.seed, asked.seed + asked.histories)
    for history in live_through_many(seeds, asked.processes):
        if history.broken is not None:
            num_broken += 1
            print(f"seed {history.seed}: {history.broken}", flush=True)
    seconds = time.monotonic() - started
    print(f"{asked.histories} histories, {num_broken} broken, {seconds:.1f} s")
    return 1 if num_broken else 0


def _replay(seed: int) -> int:
    world, broken = live_through(seed)
    for elapsed, text in world.trace:
        print(f"{elapsed:9.2f}  {text}")
    if broken is not None:
        print(f"seed {seed}: {type(broken).__name__}: {broken}")
    return 1 if broken is not None else 0


if __name__ == "__main__":
    sys.exit(main())
