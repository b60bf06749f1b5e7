"""One rank of the gang of `test_resume.py`: each job undisturbed, then stopped and resumed."""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

from accelerate.state import AcceleratorState
from transformers.integrations.deepspeed import unset_hf_deepspeed_config

from orchestrator.records import CheckpointRef, Launch, Outcome
from orchestrator.specs import CustomTask
from orchestrator.storage.checkpoints import CheckpointStore
from orchestrator.storage.objectstore import open_store
from orchestrator.worker.custom.attempt import CustomAttempt
from orchestrator.worker.folders import node_folders
from orchestrator.worker.gang import Gang
from orchestrator.worker.training.rank import Attempt, Clock
from orchestrator.worker.training.reporting import Reporter

STOP_AT = 7


class StopAfter(Reporter):
    """Stands for a control plane that asks for a checkpoint and an end after some steps."""

    def __init__(self, launch: Launch, rank: int, num_steps: int) -> None:
        super().__init__(launch, rank)
        self.left = num_steps

    @property
    def should_stop(self) -> bool:
        self.left -= 1
        return self.left == 0


def attempt(launch: Launch, gang: Gang, num_steps: int = 10_000) -> Outcome:
    store = CheckpointStore(open_store(launch.store), launch.job)
    if gang.is_first:
        assert store.claim_attempt({}) == launch.attempt
    gang.barrier()
    # Rank 0 alone looks; in `should_stop` of a session every rank asks its own.
    reporter = StopAfter(launch, gang.rank, num_steps)
    kind = CustomAttempt if isinstance(launch.spec.spec.task, CustomTask) else Attempt
    with node_folders(launch) as folders:
        outcome = kind(launch, gang, store, reporter, Clock(reporter, {}), folders).run()
    gang.barrier()
    forget(Path(launch.scratch or "") / "code")
    unset_hf_deepspeed_config()  # a gang trains once; the next one must not see this one's
    AcceleratorState._reset_state(reset_partial_state=False)
    return outcome


def forget(folder: Path) -> None:
    """A gang runs one job's code; the next one's modules may have the same names."""
    sys.path[:] = [entry for entry in sys.path if entry != str(folder)]
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None)).startswith(f"{folder}/"):
            del sys.modules[name]


def weights_digest(launch: Launch) -> str:
    weights = Path(launch.store) / "toy" / "1" / "model.safetensors"
    return hashlib.sha256(weights.read_bytes()).hexdigest()


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
        "weights": [weights_digest(job) for job in (undisturbed, resumed)]
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
