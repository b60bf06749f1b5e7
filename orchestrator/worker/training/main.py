"""The worker plane's entry point: `python -m orchestrator.worker.training.main --launch FILE`.

As the driver of a Ray job it starts the gang through Ray Train; under torchrun it is a rank of the
gang itself. Either way the same training function runs, and an Outcome is left in the store.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

ENTERED_AT = time.time()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--launch", type=Path, required=True, help="JSON file of a Launch")
    path: Path = parser.parse_args().launch
    if "TORCHELASTIC_RUN_ID" in os.environ:
        from orchestrator.worker.training.failures import guarded_rank

        guarded_rank(path.read_text(), ENTERED_AT)
        return 0
    from orchestrator.worker.training.launch import launch_on_ray

    return launch_on_ray(path.read_text())


if __name__ == "__main__":
    sys.exit(main())
