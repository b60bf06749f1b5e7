"""`python -m tests.control.simulation --seed N [--histories M]`: replays one, or runs many."""

from __future__ import annotations

import argparse
import sys
import threading
import time

from tests.control.simulation.world import World, history


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0, help="the first one")
    parser.add_argument("--histories", type=int, default=1, help="how many, from that seed on")
    arguments = parser.parse_args()
    failed: list[int] = []

    # Not on the main thread: there the store waits on threads, so that Ctrl-C is heard.
    def work() -> None:
        for seed in range(arguments.seed, arguments.seed + arguments.histories):
            world = history(seed)
            try:
                world.live()
            except (Exception, BrokenPromise) as error:
                failed.append(seed)
                print(f"seed {seed}: {type(error).__name__}: {error}", flush=True)
                if arguments.histories == 1:
                    show(world)
                    raise
            if arguments.histories == 1 and not failed:
                show(world)

    started = time.monotonic()
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    seconds = time.monotonic() - started
    print(f"{arguments.histories} histories, {len(failed)} broken, {seconds:.1f} s")
    return 1 if failed else 0


def show(world: World) -> None:
    for elapsed, text in world.trace:
        print(f"{elapsed:9.2f}  {text}")


if __name__ == "__main__":
    sys.exit(main())
