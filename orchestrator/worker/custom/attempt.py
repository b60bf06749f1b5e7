"""One rank's part of an Attempt whose task is custom: its script gets a session and is run.

The training function (`training.rank`) hands over to it; ranks of every other task never do.
"""

from __future__ import annotations

import os
import runpy
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch.distributed as dist

from orchestrator.errors import InvalidInput, UserCodeError
from orchestrator.inspect.given import given_files
from orchestrator.records import JobState, Launch, Outcome, Phase, Reason, SelectionOutcome
from orchestrator.specs import CustomTask
from orchestrator.storage.cache import local_copy
from orchestrator.storage.checkpoints import CheckpointStore
from orchestrator.worker.custom.card import script_card
from orchestrator.worker.custom.code import UserCode, bring_code
from orchestrator.worker.custom.session import Done, Given, Session, session_of_process
from orchestrator.worker.folders import NodeFolders, find_start
from orchestrator.worker.gang import Gang
from orchestrator.worker.publishing.publish import Beside, publish
from orchestrator.worker.training.checkpointing import Checkpointer, restore
from orchestrator.worker.training.clock import Clock
from orchestrator.worker.training.reporting import Reporter


class CustomAttempt:
    """From the code to the Outcome."""

    def __init__(
        self,
        launch: Launch,
        gang: Gang,
        store: CheckpointStore,
        reporter: Reporter,
        clock: Clock,
        folders: NodeFolders,
    ) -> None:
        assert isinstance(launch.spec.spec.task, CustomTask)
        self.launch = launch
        self.task = launch.spec.spec.task
        self.gang = gang
        self.store = store
        self.reporter = reporter
        self.clock = clock
        self.folders = folders

    def run(self) -> Outcome:
        # 1. Code, data, base model; the checkpoint to go on from, if any.
        with self.clock.phase(Phase.LOAD):
            code = bring_code(self.launch, self.gang, self.folders.scratch)
            assert code is not None, "a custom task has code"
            given = self._given()
        checkpointer = Checkpointer(self.store, self.launch, self.gang, self.folders.scratch)
        session = Session(self.launch, self.gang, self.reporter, checkpointer, given)
        # 2. The script.
        with self.clock.phase(Phase.TRAIN):
            with session_of_process(session):
                run_script(code, self.task.entrypoint, self.task.arguments)
            checkpointer.close()
            if self.gang.is_first:
                self.store.put_history(self.launch.attempt, session.done.history)
            self.gang.barrier()
        # 3. How it ended: rank 0's word, like all that is published.
        if self.gang.is_first and given.resume_step is not None:
            session.done.reported |= self._reported_before()
        outcome = self._outcome(session.done, checkpointer.committed_step, given.resume_step)
        if self.gang.is_first and outcome.state is JobState.SUCCEEDED and session.done.export:
            with self.clock.phase(Phase.PUBLISH):
                outcome = self._published(outcome, session.done.export, code)
        return outcome.model_copy(update={"seconds": dict(self.clock.seconds)})

    def _given(self) -> Given:
        cache, scratch = self.folders.cache, self.folders.scratch
        spec = self.launch.spec.spec
        base = None
        if spec.model is not None:
            base = find_start(self.launch, cache, verify=self.gang.local_rank == 0).folder
        fetch = partial(local_copy, cache_dir=cache)
        found = given_files(spec.data, base_dir=Path("/"), fetch=fetch, hashed=False)
        if found.problems:
            raise InvalidInput(found.problems)
        restored = restore(self.store, self.launch, self.gang, scratch)
        shutil.rmtree(scratch / f"script-{self.gang.rank}", ignore_errors=True)
        return Given(
            device=self.gang.device(),
            scratch=scratch,
            base_folder=base,
            files={key: tuple(paths) for key, paths in found.paths.items()},
            resume_folder=restored[0] if restored else None,
            resume_step=restored[1].step if restored else None,
        )

    def _reported_before(self) -> set[str]:
        """Names in the curves of earlier Attempts, whose steps this one did not take again."""
        earlier = (n for n in self.store.attempts() if n < self.launch.attempt)
        return {name for number in earlier for row in self.store.history(number) for name in row}

    def _outcome(self, done: Done, committed: int | None, resumed_from: int | None) -> Outcome:
        """How it ended as far as this rank knows; rank 0's is the Attempt's."""
        outcome = Outcome(
            job=self.launch.job,
            attempt=self.launch.attempt,
            state=JobState.SUCCEEDED,
            reason=Reason.COMPLETED,
            resumed_from_step=resumed_from,
            step=done.step,
            checkpoint_step=committed if committed is not None else resumed_from,
            metrics=dict(done.metrics),
        )
        if done.export is None and done.is_stopped:
            return outcome.model_copy(update=self._stopped(committed))
        if self.gang.is_first and (lack := self._lack(done)):
            return outcome.model_copy(update={"state": JobState.FAILED, **lack})
        silent = not done.metrics and not done.reported
        return outcome.model_copy(
            update={
                "selection": SelectionOutcome(last=True, step=done.step),
                "message": f"{self.task.entrypoint} reported no metric" if silent else None,
            }
        )

    def _stopped(self, committed: int | None) -> dict[str, Any]:
        kept = "a checkpoint is saved" if committed is not None else "it saved no checkpoint"
        return {
            "state": JobState.SUSPENDED,
            "reason": Reason.INTERRUPTED,
            "message": f"{self.task.entrypoint} stopped when it was asked to; {kept}",
            "hint": "run the same command again to go on",
        }

    def _lack(self, done: Done) -> dict[str, Any]:
        """What the script was to do and has not done; empty where nothing is missing."""
        script = f"task.entrypoint: {self.task.entrypoint}"
        if self.task.publishes and done.export is None:
            return {
                "reason": Reason.USER_ERROR,
                "message": f"{script} ended without publishing a model",
                "hint": "call session.publish(folder) on rank 0, or write task.publishes: false",
            }
        wanted = self.launch.spec.spec.selection.metric
        measured = {f"{domain}/{name}" for domain, names in done.metrics.items() for name in names}
        if wanted is not None and wanted not in done.reported | measured:
            return {
                "reason": Reason.NO_METRIC,
                "message": f"{script} ended and never reported {wanted}",
                "hint": f"report metrics={{'{wanted}': …}}, or remove selection.metric",
            }
        return {}

    def _published(self, outcome: Outcome, folder: Path, code: UserCode) -> Outcome:
        card = script_card(self.launch, outcome.metrics)
        version = publish(self.launch, self.store, outcome, folder, Beside(card, code.code))
        return outcome.model_copy(
            update={"model": f"{version.name}@{version.version}", "url": version.url}
        )


def run_script(code: UserCode, entrypoint: str, arguments: Mapping[str, str]) -> None:
    """Runs the script as Python would run it from the code's folder, in this process.

    Raises UserCodeError for what it raises and for an exit code other than 0.
    """
    path = str(code.folder / entrypoint)
    what = f"task.entrypoint: {entrypoint}"
    with _as_started(code.folder, [path, *command_line(arguments)]), process_group_of_gang():
        try:
            with code.errors(what, may_exit=True):
                runpy.run_path(path, run_name="__main__")
        except SystemExit as end:
            if end.code in (None, 0):
                return
            how = f"exit code {end.code}" if isinstance(end.code, int) else str(end.code)
            message = f"{what} ended with {how}"
            raise UserCodeError(message, hint="see the log of this rank") from None


def command_line(arguments: Mapping[str, str]) -> list[str]:
    """`{steps: '40', verbose: ''}` -> `--steps 40 --verbose`."""
    words = []
    for name, value in arguments.items():
        words += [f"--{name}", value] if value else [f"--{name}"]
    return words


@contextmanager
def process_group_of_gang() -> Iterator[None]:
    """Scripts made for torchrun form the process group and end it; here it is the gang's.

    It is there before they begin, and what follows them still needs it.
    """
    form, end = dist.init_process_group, dist.destroy_process_group

    def keep(group: dist.ProcessGroup | None = None) -> None:
        if group is not None and group is not dist.group.WORLD:
            end(group)

    dist.init_process_group = lambda *_, **__: None
    dist.destroy_process_group = keep
    try:
        yield
    finally:
        dist.init_process_group, dist.destroy_process_group = form, end


@contextmanager
def _as_started(folder: Path, words: list[str]) -> Iterator[None]:
    before = sys.argv, Path.cwd()
    sys.argv = words
    os.chdir(folder)
    try:
        yield
    finally:
        sys.argv = before[0]
        os.chdir(before[1])
