"""The worker plane's entry point: `python -m orchestrator.worker.training.main --launch WHERE`.

As the driver of a Ray job it starts the gang through Ray Train; under torchrun it is a rank of the
gang itself. Either way the same training function runs, and an Outcome is left in the store.
"""

from __future__ import annotations

import argparse
import os
import sys
import time

ENTERED_AT = time.time()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--launch", required=True, help="a Launch: a JSON file, or an object's URL")
    where: str = parser.parse_args().launch
    from orchestrator.storage.reading import read_text
    from orchestrator.worker.training.failures import guarded_driver, guarded_rank

    launch_json = read_text(where)
    if "TORCHELASTIC_RUN_ID" in os.environ:
        guarded_rank(launch_json, ENTERED_AT)
        return 0
    return guarded_driver(launch_json)


if __name__ == "__main__":
    sys.exit(main())
