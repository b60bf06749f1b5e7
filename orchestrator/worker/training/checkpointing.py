"""The worker's side of checkpoints: stage on disk, upload behind the step loop, restore by hash.

The step loop waits only for a copy in memory (and for the checkpoint before, so that at most one is
on its way): a thread writes it to the local disk and sends it off. What may be resumed from is
decided by the manifests in the store.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import Field

from orchestrator.errors import IntegrityError, ObjectNotFound
from orchestrator.records import CheckpointRef, Launch, Record
from orchestrator.specs import CustomTask
from orchestrator.storage.checkpoints import CheckpointStore
from orchestrator.worker.gang import Gang
from orchestrator.worker.training import universal
from orchestrator.worker.training.snapshot import Write

logger = logging.getLogger(__name__)

PROGRESS_FILE = "progress.json"
COMMIT_TIMEOUT_SECONDS = 1800.0


class BestWeights(Record):
    """Where the best weights so far are kept in the store, and how good they are on valid."""

    attempt: int
    step: int
    value: float


class Progress(Record):
    """What a resumed Attempt must know beside weights, optimizer and RNG."""

    best: BestWeights | None = None
    evaluations_since_best: int = 0
    stopped_early: bool = False
    before: dict[str, dict[str, Any]] = Field(
        default_factory=dict, description="domain -> metrics of the untrained start on test."
    )
    start: dict[str, dict[str, float]] = Field(
        default_factory=dict,
        description="domain -> selection metric of the untrained start on valid, for gates.",
    )


class Checkpointer:
    """Saves for one rank of one Attempt. Errors of an upload surface at the next call."""

    def __init__(self, store: CheckpointStore, launch: Launch, gang: Gang, scratch: Path) -> None:
        self._store = store
        self._launch = launch
        self._gang = gang
        self._scratch = scratch / f"rank-{gang.rank}"
        self._uploads = ThreadPoolExecutor(max_workers=1, thread_name_prefix="upload")
        self._pending: list[Future[None]] = []
        self.committed_step: int | None = None

    def stage(self, name: str) -> Path:
        """An empty folder of this rank; waits for the previous checkpoint's upload."""
        self.wait()
        folder = self._scratch / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        return folder

    def submit_checkpoint(
        self, step: int, folder: Path, progress: Progress, writes: Sequence[Write] = ()
    ) -> None:
        """Hands a staged folder over; rank 0 commits it when every rank's shards are stored.

        `writes` are done first: files of which only a copy in memory was taken.
        """
        if self._gang.is_first:
            (folder / PROGRESS_FILE).write_text(progress.model_dump_json())
        self._pending.append(self._uploads.submit(self._upload, step, folder, progress, writes))

    def submit_weights(self, step: int, folder: Path) -> None:
        """Keeps weights that may be published; before the checkpoint that refers to them."""
        self._pending.append(self._uploads.submit(self._upload_weights, step, folder))

    def submit_history(self, rows: list[dict[str, Any]]) -> None:
        """Keeps the curves so far: they outlive a node that is lost."""
        attempt = self._launch.attempt
        self._pending.append(self._uploads.submit(self._store.put_history, attempt, rows))

    def wait(self) -> None:
        """Until nothing is on its way; raises what an upload raised."""
        pending, self._pending = self._pending, []
        for upload in pending:
            upload.result()

    def close(self) -> None:
        """As `wait`; nothing can be saved afterwards."""
        self.wait()
        self._uploads.shutdown()

    def _upload(self, step: int, folder: Path, progress: Progress, writes: Sequence[Write]) -> None:
        for write in writes:
            write()
        attempt = self._launch.attempt
        self._store.upload_rank(attempt, step, self._gang.rank, folder)
        shutil.rmtree(folder, ignore_errors=True)
        if not self._gang.is_first:
            return
        engine = self._launch.spec.spec.engine
        self._store.commit(
            attempt,
            step,
            self._gang.world_size,
            {
                "run": self._launch.identity.run,
                "world_size": self._gang.world_size,
                "strategy": engine.strategy,
                "zero_stage": engine.zero_stage,
                "best": progress.best.model_dump() if progress.best else None,
            },
            timeout_seconds=COMMIT_TIMEOUT_SECONDS,
        )
        self.committed_step = step
        self._store.retain(self._launch.spec.spec.checkpoint.keep, set())
        self._drop_unreferenced_weights()

    def _upload_weights(self, step: int, folder: Path) -> None:
        metadata = {"run": self._launch.identity.run}
        self._store.put_weights(self._launch.attempt, step, folder, metadata)
        shutil.rmtree(folder, ignore_errors=True)

    def _drop_unreferenced_weights(self) -> None:
        """Weights that no kept checkpoint calls its best can never be published."""
        kept = [checkpoint.manifest.metadata.get("best") for checkpoint in self._store.candidates()]
        wanted = {(best["attempt"], best["step"]) for best in kept if best}
        for attempt in self._store.attempts():
            for step in self._store.weights(attempt):
                if (attempt, step) not in wanted:
                    self._store.delete_weights(attempt, step)


class Restored(NamedTuple):
    """A checkpoint as this node has it."""

    folder: Path
    reference: CheckpointRef
    progress: Progress
    is_resized: bool = False  # by a gang of another size: no rank finds its own RNG state there


def restore(store: CheckpointStore, launch: Launch, gang: Gang, scratch: Path) -> Restored | None:
    """The newest undamaged checkpoint of the Launch, laid out on this node as one folder.

    A damaged one (its bytes are not those of its manifest) is skipped by the whole gang together.
    One of another number of workers or another ZeRO stage is made to fit, once a node.
    """
    for reference in launch.resume:
        folder = scratch / f"resume-{reference.attempt}-{reference.step}"
        problem = _fetch(store, reference, folder) if gang.local_rank == 0 else None
        problems = [text for text in gang.gather(problem) if text]
        if not problems:
            is_resized = reference.world_size != gang.world_size
            if gang.local_rank == 0:
                _make_fit(store, launch, reference, folder, is_resized)
            gang.barrier()
            progress = Progress.model_validate_json((folder / PROGRESS_FILE).read_text())
            return Restored(folder, reference, progress, is_resized)
        if gang.is_first:
            logger.warning("skipping checkpoint of step %d: %s", reference.step, problems[0])
    return None


def fetch_continued(
    store: CheckpointStore, launch: Launch, gang: Gang, scratch: Path
) -> Path | None:
    """Another job's checkpoint that a first Attempt begins with, on this node; None: there is none.

    Raises IntegrityError where it is damaged or gone by now.
    """
    reference = launch.continues
    if reference is None:
        return None
    folder = scratch / f"continues-{reference.attempt}-{reference.step}"
    problem = _fetch(store, reference, folder) if gang.local_rank == 0 else None
    if problems := [text for text in gang.gather(problem) if text]:
        hint = "remove model.optimizer to begin with the base's weights and new moments"
        raise IntegrityError(f"the checkpoint of {reference.job}: {problems[0]}", hint=hint)
    if gang.local_rank == 0 and launch.spec.spec.engine.strategy == "deepspeed":
        universal.convert(folder)
    gang.barrier()
    return folder


def _make_fit(
    store: CheckpointStore, launch: Launch, reference: CheckpointRef, folder: Path, is_resized: bool
) -> None:
    """Converts what another engine wrote; scripts alone know what is theirs."""
    spec = launch.spec.spec
    if isinstance(spec.task, CustomTask):
        return
    if is_resized:
        for state in folder.glob("rng_state*"):
            state.unlink()
    if spec.engine.strategy != "deepspeed":
        return  # every rank holds everything
    saved = store.checkpoint(reference.attempt, reference.step).manifest.metadata
    stages = (saved.get("zero_stage", spec.engine.zero_stage), spec.engine.zero_stage)
    is_sharded = any(stages)
    if stages[0] != stages[1] or (is_resized and is_sharded):
        universal.convert(folder)


def _fetch(store: CheckpointStore, reference: CheckpointRef, folder: Path) -> str | None:
    """Downloads every rank's files into one folder; says what is damaged instead of raising."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        checkpoint = store.checkpoint(reference.attempt, reference.step)
        for rank in range(reference.world_size):
            store.fetch_rank(checkpoint, rank, folder)
    except (IntegrityError, ObjectNotFound) as error:
        return str(error)
    return None
