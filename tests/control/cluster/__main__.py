"""`python -m tests.control.cluster [SHOW…] [--rounds N] [--data FOLDER] [--seed N]`.

Makes the rig and has everything go wrong in turn; half an hour on a quiet machine of two cores. The
suite's own test runs a part of it.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from tests.control.cluster import shows
from tests.control.cluster.network import missing
from tests.control.cluster.rig import DATA, Rig

WITH_WEIGHTS = (
    shows.rank_and_driver_die,
    shows.store_dies,
    shows.preemption,
    shows.hang,
)
WITHOUT = (
    shows.cancel_while_running,
    shows.cancel_while_starting,
    shows.partition,
    shows.queue_in_order,
    shows.other_version,
)

Show = tuple[str, Callable[[], str]]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("shows", nargs="*", help="names; absent: all")
    parser.add_argument("--list", action="store_true", help="show their names")
    parser.add_argument("--rounds", type=int, default=5, help="of node_and_server_die")
    parser.add_argument("--data", type=Path, default=DATA, help="train, valid and test.jsonl")
    parser.add_argument("--seed", type=int, default=1, help="of the moments")
    asked = parser.parse_args()
    if asked.list:
        names = [show.__name__ for show in (shows.node_and_server_die, *WITH_WEIGHTS, *WITHOUT)]
        print("\n".join(names))
        return 0
    if why := missing():
        print(why, file=sys.stderr)
        return 2
    failed = []
    with (
        tempfile.TemporaryDirectory(prefix="orcc", dir="/tmp") as folder,
        Rig(Path(folder), data=asked.data) as rig,
    ):
        os.environ.update(rig.store.environment())
        for name, show in _chosen(rig, asked):
            if not _went_well(name, show):
                failed.append(name)
                rig.mend()
    print(f"failed: {', '.join(failed)}" if failed else "all went well")
    return 1 if failed else 0


def _chosen(rig: Rig, asked: argparse.Namespace) -> Iterator[Show]:
    def is_wanted(name: str) -> bool:
        return not asked.shows or name in asked.shows

    for show in WITHOUT:
        if is_wanted(show.__name__):
            yield show.__name__, partial(show, rig)
    weighing = [show for show in WITH_WEIGHTS if is_wanted(show.__name__)]
    rounds = asked.rounds if is_wanted(shows.node_and_server_die.__name__) else 0
    weights = shows.reference(rig) if weighing or rounds else ""
    for weighed in weighing:
        yield weighed.__name__, partial(weighed, rig, weights)
    for number in range(rounds):
        chance = random.Random(asked.seed * 1000 + number)
        name = f"{shows.node_and_server_die.__name__} {number + 1} of {rounds}"
        yield name, partial(shows.node_and_server_die, rig, weights, chance)


def _went_well(name: str, show: Callable[[], str]) -> bool:
    begin = time.monotonic()
    try:
        told, is_well = show(), True
    except Exception:  # noqa: BLE001 (the others are shown all the same)
        told, is_well = traceback.format_exc(), False
    word = "ok" if is_well else "FAILED"
    print(f"== {name}: {word} in {time.monotonic() - begin:.0f} s\n{told}\n", flush=True)
    return is_well


if __name__ == "__main__":
    sys.exit(main())
