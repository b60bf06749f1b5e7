"""One rank of the gang of `test_resume.py`: each case undisturbed, then stopped and resumed."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from pathlib import Path
from typing import Any

from accelerate.state import AcceleratorState
from transformers.integrations.deepspeed import unset_hf_deepspeed_config

from orchestrator.records import CheckpointRef, Launch, Outcome
from orchestrator.storage.checkpoints import CheckpointStore
from orchestrator.storage.objectstore import open_store
from orchestrator.worker.custom.attempt import CustomAttempt
from orchestrator.worker.folders import node_folders
from orchestrator.worker.gang import Gang
from orchestrator.worker.training.rank import Attempt, Clock
from orchestrator.worker.training.reporting import Reporter
from tests.worker.tiny import shard_everything


class StopAfter(Reporter):
    """Stands for a control plane that asks for a checkpoint and an end after some steps."""

    def __init__(self, launch: Launch, rank: int, num_steps: int) -> None:
        super().__init__(launch, rank)
        self.left = num_steps

    @property
    def should_stop(self) -> bool:
        self.left -= 1
        return self.left == 0


def attempt(
    launch: Launch,
    gang: Gang,
    num_steps: int = 10_000,
    kind: type[Attempt] | type[CustomAttempt] = Attempt,
) -> Outcome:
    """One Attempt in this process; rank 0's reporter asks it to stop after some steps."""
    store = store_of(launch)
    if gang.is_first:
        assert store.claim_attempt({}) == launch.attempt
    gang.barrier()
    reporter = StopAfter(launch, gang.rank, num_steps)
    with node_folders(launch) as folders:
        outcome = kind(launch, gang, store, reporter, Clock(reporter, {}), folders).run()
    gang.barrier()
    unset_hf_deepspeed_config()  # a gang trains once; the next one must not see this one's
    os.environ.pop("ACCELERATE_USE_DEEPSPEED", None)
    AcceleratorState._reset_state(reset_partial_state=False)
    return outcome


def store_of(launch: Launch) -> CheckpointStore:
    return CheckpointStore(open_store(launch.store), launch.job)


def digest(launch: Launch) -> str:
    (weights,) = (Path(launch.store) / "toy" / "1").glob("*.safetensors")
    return hashlib.sha256(weights.read_bytes()).hexdigest()


def compare(undisturbed: Launch, stopped: Launch, gang: Gang) -> dict[str, Any]:
    whole = attempt(undisturbed, gang)
    first = attempt(stopped, gang, num_steps=7)
    assert first.checkpoint_step is None or first.checkpoint_step == 7  # rank 0 alone commits
    reference = CheckpointRef(attempt=1, step=7, world_size=gang.world_size)
    resumed = stopped.model_copy(update={"attempt": 2, "resume": (reference,)})
    second = attempt(resumed, gang)
    return {
        "states": [whole.state, first.state, second.state],
        "steps": [whole.step, first.step, second.step],
        "resumed_from_step": second.resumed_from_step,
        "published_step": second.selection.step if second.selection else None,
        "undisturbed": digest(undisturbed) if gang.is_first else None,
        "resumed": digest(resumed) if gang.is_first else None,
        "same_metrics": (whole.metrics, whole.before) == (second.metrics, second.before),
    }


def main() -> None:
    folder = Path(sys.argv[1])
    gang = Gang.join()
    shard_everything()
    found = {}
    for name, pair in json.loads((folder / "launches.json").read_text()).items():
        undisturbed, stopped = (Launch.model_validate(document) for document in pair)
        found[name] = compare(undisturbed, stopped, gang)
    if gang.is_first:
        (folder / "found.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main()
