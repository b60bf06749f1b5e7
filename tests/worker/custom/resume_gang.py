"""One rank of the gang of `test_resume.py`: each job undisturbed, then stopped and resumed."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from orchestrator.records import CheckpointRef, Launch, Outcome
from orchestrator.specs import CustomTask
from orchestrator.worker.custom.attempt import CustomAttempt
from orchestrator.worker.gang import Gang
from orchestrator.worker.training.rank import Attempt
from tests.worker.training import resume_gang

STOP_AT = 7


def attempt(launch: Launch, gang: Gang, num_steps: int = 10_000) -> Outcome:
    """As of any job, without a trace of its code. Every rank of a session asks its own reporter."""
    kind = CustomAttempt if isinstance(launch.spec.spec.task, CustomTask) else Attempt
    outcome = resume_gang.attempt(launch, gang, num_steps, kind)
    forget(Path(launch.scratch or "") / "code")
    return outcome


def forget(folder: Path) -> None:
    """A gang runs one job's code; the next one's modules may have the same names."""
    sys.path[:] = [entry for entry in sys.path if entry != str(folder)]
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None)).startswith(f"{folder}/"):
            del sys.modules[name]


def compare(undisturbed: Launch, stopped: Launch, gang: Gang) -> dict[str, Any]:
    whole = attempt(undisturbed, gang)
    first = attempt(stopped, gang, num_steps=STOP_AT)
    reference = CheckpointRef(attempt=1, step=STOP_AT, world_size=gang.world_size)
    resumed = stopped.model_copy(update={"attempt": 2, "resume": (reference,)})
    second = attempt(resumed, gang)
    outcomes = (whole, first, second)
    return {
        "states": [outcome.state for outcome in outcomes],
        "steps": [outcome.step for outcome in outcomes],
        "resumed_from_step": second.resumed_from_step,
        "metrics": [outcome.metrics for outcome in (whole, second)],
        "weights": [resume_gang.digest(job) for job in (undisturbed, resumed)]
        if gang.is_first
        else None,
        "selection": whole.selection.model_dump() if whole.selection is not None else None,
    }


def main() -> None:
    folder = Path(sys.argv[1])
    gang = Gang.join()
    found = {}
    for name, pair in json.loads((folder / "launches.json").read_text()).items():
        undisturbed, stopped = (Launch.model_validate(document) for document in pair)
        found[name] = compare(undisturbed, stopped, gang)
    if gang.is_first:
        (folder / "found.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main()
