"""`python -m tests.control.service --kill leader`: a service under load while things are killed.

Prints how long a standby took, how long submits took, and what is not as it must be.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.control.service.checks import check_all
from tests.control.service.load import Lived
from tests.control.service.scenarios import SCENARIOS


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kill", choices=SCENARIOS, default="server")
    parser.add_argument("--jobs", type=int, default=200)
    parser.add_argument("--kills", type=int, default=6)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="service-") as folder:
        scenario = SCENARIOS[asked.kill]
        with scenario(Path(folder), asked.jobs, asked.kills, asked.seed) as (lived, database):
            _show(lived)
            check_all(lived, database)
    print("each job reached its right end once")
    return 0


def _show(lived: Lived) -> None:
    waited = sorted(seconds for user in lived.users for seconds in user.waited)
    print(f"{len(lived.ids)} jobs in {lived.seconds:.1f} s, {lived.killed} kills")
    print(f"submit: median {waited[len(waited) // 2]:.2f} s, longest {waited[-1]:.2f} s")
    if lived.takeovers:
        shown = ", ".join(f"{seconds:.1f}" for seconds in lived.takeovers)
        print(f"another leader after: {shown} s")


if __name__ == "__main__":
    sys.exit(main())
