"""`python -m tests.control.simulation --seed N [--histories M]`: replays one, or runs many."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence

from tests.control.simulation.world import World, live_through


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0, help="the first one")
    parser.add_argument("--histories", type=int, default=1, help="how many, from that seed on")
    asked = parser.parse_args(arguments)
    num_broken = 0
    started = time.monotonic()
    for seed in range(asked.seed, asked.seed + asked.histories):
        world, broken = live_through(seed)
        num_broken += broken is not None
        if asked.histories == 1:
            _show(world)
        if broken is not None:
            print(f"seed {seed}: {type(broken).__name__}: {broken}", flush=True)
    seconds = time.monotonic() - started
    print(f"{asked.histories} histories, {num_broken} broken, {seconds:.1f} s")
    return 1 if num_broken else 0


def _show(world: World) -> None:
    for elapsed, text in world.trace:
        print(f"{elapsed:9.2f}  {text}")


if __name__ == "__main__":
    sys.exit(main())
