"""What one Attempt does on a cluster: a worker's life, with the real bytes it leaves in the store.

It follows the worker plane's rules: it reads its Launch, leaves at once if its end is in the store
already, resumes, commits checkpoints, reports, obeys Directives, publishes, and says how it ended.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.control.backends.base import AttemptHandle, AttemptStatus, LaunchRequest
from orchestrator.errors import DatabaseUnavailable, ObjectExists, StoreUnavailable
from orchestrator.records import (
    REPORT_TOKEN_VARIABLE,
    Action,
    Directive,
    JobState,
    Launch,
    Outcome,
    Phase,
    Reason,
    Report,
)
from orchestrator.storage.checkpoints import CheckpointStore
from orchestrator.storage.registry import ModelRegistry

if TYPE_CHECKING:
    from tests.control.simulation.cluster import Cluster
    from tests.control.simulation.world import World

STORE_AGAIN_SECONDS = 3.0
HEARTBEAT_SECONDS = 8.0
STEPS_A_TICK = 5
CHECKPOINT_EVERY = 10


@dataclass(frozen=True, slots=True)
class Fate:
    """What will befall one Attempt."""

    kind: str = "none"  # none, kill, hang, silent, fall
    after_seconds: float = 0.0  # kill: since it was accepted
    step: int = 0  # hang: the step it stays at

    def __str__(self) -> str:
        return self.kind


class Gang:
    """One Attempt's processes."""

    def __init__(self, world: World, cluster: Cluster, request: LaunchRequest, fate: Fate) -> None:
        self.world = world
        self.cluster = cluster
        self.request = request
        self.fate = fate
        self.handle = AttemptHandle(request.job, request.attempt)
        self.nature = world.users.natures[request.job]
        self.machines = frozenset(part.node for part in request.placement)
        self.status = AttemptStatus.PENDING
        self.exit_code: int | None = None
        self.message = ""
        self.log = ""
        self.causes: set[str] = set()  # of an end that is not success
        self.has_ranks = False
        self.is_hanging = False
        self.is_stuck = False  # it waits for the store: that is no progress either
        self.was_stuck_until = float("-inf")
        self.has_stacks = False
        self.is_told_to_stop = False
        self.accepted_at = world.time.now
        self.ended_at: float | None = None
        self.phase: Phase = Phase.LAUNCH
        self.step = 0
        self.checkpoint_step: int | None = None
        self.sequence = 0
        self.launch: Launch | None = None
        self._store = world.open_store()
        self._checkpoints = CheckpointStore(self._store, request.job, sleep=_nobody_waits)

    def __str__(self) -> str:
        return f"{self.world.name(self.request.job)}/a{self.request.attempt}"

    @property
    def is_over(self) -> bool:
        return self.ended_at is not None

    # Its life.

    def begin(self) -> None:
        if self.fate.kind == "kill":
            self.world.time.after(self.fate.after_seconds, self.kill)
        self._then(self.world.chance.uniform(0.3, 3.0), self._drive)

    def _drive(self) -> None:
        """The driver, before there are ranks."""
        key = f"a{self.request.attempt}/launch.json"
        text = self._store.child(f".checkpoints/{self.request.job}").get_bytes(key)
        self.launch = Launch.model_validate_json(text)
        if not all(m.is_alive for m in self.cluster.machines if m.name in self.machines):
            self.fall("a node of the placement is gone", cause="node")
            return
        if self._checkpoints.outcome(self.request.attempt) is not None:
            self._end(AttemptStatus.FAILED, 1, "it was given up before it began")
            return
        self.status = AttemptStatus.RUNNING
        self._then(self.world.chance.uniform(0.3, 3.0), self._form)

    def _form(self) -> None:
        self.has_ranks = True
        self.world.promises.formed(self)
        self._enter(Phase.IMPORT)
        self._heartbeat()
        self._then(self.world.chance.uniform(0.5, 4.0), self._load)

    def _load(self) -> None:
        assert self.launch is not None
        self._enter(Phase.LOAD)
        if self.nature.end is Reason.USER_ERROR:
            self._fail(Reason.USER_ERROR, "the labels are wrong")
            return
        if not self.nature.fits(self.launch.spec.spec.engine):
            if self.world.chance.random() < 0.5:
                self._fail(Reason.OUT_OF_MEMORY, "CUDA out of memory")
            else:
                self.log = "ray.exceptions.OutOfMemoryError: Task was killed"
                self.fall("worker killed", cause="memory")
            return
        if self.launch.resume:
            best = self.launch.resume[0]
            self._checkpoints.checkpoint(best.attempt, best.step)
            self.step = self.checkpoint_step = best.step
        self.world.promises.resumed(self)
        self._then(self.world.chance.uniform(0.5, 4.0), self._train)

    def _train(self) -> None:
        if self.phase is not Phase.TRAIN:
            self._enter(Phase.TRAIN)
        if self.is_told_to_stop:
            self._commit()
            self._leave(JobState.SUSPENDED, Reason.INTERRUPTED)
            return
        if self.fate.kind == "hang" and self.step >= self.fate.step:
            self.is_hanging = True
            self.world.say(f"{self} hangs at step {self.step}")
            return
        if self.nature.end is Reason.DIVERGED and self.step >= self.nature.steps // 2:
            self._fail(Reason.DIVERGED, "the loss is NaN")
            return
        if self.step and self.step % CHECKPOINT_EVERY == 0 and self.checkpoint_step != self.step:
            self._commit()
        if self.step >= self.nature.steps:
            self._then(0.5, self._evaluate)
            return
        self.step += STEPS_A_TICK
        self._report()
        self._then(self.nature.tick_seconds * self.world.chance.uniform(0.7, 1.3), self._train)

    def _evaluate(self) -> None:
        self._enter(Phase.EVALUATE)
        self._then(self.world.chance.uniform(0.5, 4.0), self._publish)

    def _publish(self) -> None:
        if self.phase is not Phase.PUBLISH:
            self._enter(Phase.PUBLISH)
        if self.fate.kind == "silent":
            self.causes.add("silent")
            self._end(AttemptStatus.SUCCEEDED, 0, "")
            return
        assert self.launch is not None
        name = self.launch.spec.spec.output.name
        assert name is not None
        version = ModelRegistry(self._store).publish(name, _model(), run=self.request.job)
        self.world.promises.published(self, version.ref)
        if self.fate.kind == "fall":
            self.fall("its driver died", cause="fall", exit_code=137)
            return
        self._leave(JobState.SUCCEEDED, Reason.COMPLETED, version.ref)

    # What is done to it.

    def kill(self) -> None:
        self.fall("killed", cause="kill", exit_code=137)

    def stop(self) -> None:
        """Obeyed after a while, and now and then not at all."""
        self.causes.add("stop")
        if self.world.weather.hears(self.world):
            seconds = self.world.chance.uniform(0.2, 5.0)
            self._after(seconds, lambda: self._end(AttemptStatus.STOPPED, None, "stopped"))

    def fall(self, message: str, *, cause: str, exit_code: int | None = None) -> None:
        if not self.is_over:
            self.causes.add(cause)
            self._end(AttemptStatus.FAILED, exit_code, message)

    # Below: one step after the other, Reports, and the end.

    def _then(self, seconds: float, step: Callable[[], None]) -> None:
        def attempt() -> None:
            try:
                step()
                if self.is_stuck:
                    self.is_stuck, self.was_stuck_until = False, self.world.time.now
            except StoreUnavailable:
                self.is_stuck = True
                self._after(STORE_AGAIN_SECONDS, attempt)

        self._after(seconds, attempt)

    def _after(self, seconds: float, action: Callable[[], None]) -> None:
        self.world.time.after(seconds, lambda: None if self.is_over else action())

    def _enter(self, phase: Phase) -> None:
        self.phase = phase
        self._report()

    def _commit(self) -> None:
        if self.checkpoint_step == self.step or self.step == 0:
            return
        attempt, step = self.request.attempt, self.step
        for rank in range(self.request.workers):
            self._checkpoints.upload_rank(attempt, step, rank, _shards())
        self._checkpoints.commit(attempt, step, self.request.workers, {}, timeout_seconds=0.0)
        self.checkpoint_step = step

    def _leave(self, state: JobState, reason: Reason, model: str | None = None) -> None:
        outcome = Outcome(
            job=self.request.job,
            attempt=self.request.attempt,
            state=state,
            reason=reason,
            step=self.step,
            checkpoint_step=self.checkpoint_step,
            model=model,
        )
        document = outcome.model_dump(mode="json")
        self._checkpoints.put_outcome(self.request.attempt, document)
        self._report()
        self._end(AttemptStatus.SUCCEEDED, 0, "")

    def _fail(self, reason: Reason, message: str) -> None:
        fields = {"job": self.request.job, "attempt": self.request.attempt, "reason": reason}
        outcome = Outcome.model_validate({**fields, "state": JobState.FAILED, "message": message})
        document = outcome.model_dump(mode="json")
        self.causes.add(str(reason))
        with suppress(ObjectExists):
            self._checkpoints.put_outcome(self.request.attempt, document, create_only=True)
        self._end(AttemptStatus.FAILED, 1, "Job entrypoint command failed")

    def _end(self, status: AttemptStatus, exit_code: int | None, message: str) -> None:
        if self.is_over:
            return
        self.ended_at = self.world.time.now
        self.status, self.exit_code, self.message = status, exit_code, message
        self.world.say(f"{self} ended: {status} {message}".rstrip())

    def _heartbeat(self) -> None:
        self._report()
        self._after(HEARTBEAT_SECONDS, self._heartbeat)

    def _report(self) -> None:
        self.sequence += 1
        report = Report(
            job=self.request.job,
            attempt=self.request.attempt,
            rank=0,
            sequence=self.sequence,
            time=self.world.time.now,
            phase=self.phase,
            step=self.step if self.phase is not Phase.IMPORT else None,
            max_steps=self.nature.steps,
            checkpoint_step=self.checkpoint_step,
        )
        for seconds in self.world.weather.deliveries(self.world):
            self.world.time.after(seconds, lambda: self._deliver(report))

    def _deliver(self, report: Report) -> None:
        token = self.request.environment[REPORT_TOKEN_VARIABLE]
        digest = sha256(token.encode()).hexdigest()
        try:
            directive = self.world.receive(digest, report)
        except DatabaseUnavailable:
            return
        if directive is not None and self.world.weather.hears(self.world):
            self._obey(directive)

    def _obey(self, directive: Directive) -> None:
        if self.is_over:
            return
        self.is_told_to_stop = directive.action is Action.SAVE_AND_STOP
        self.has_stacks |= directive.action is Action.DUMP_STACKS


@cache
def _shards() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="simulation-"))
    (folder / "shard").write_text("weights")
    return folder


@cache
def _model() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="simulation-"))
    (folder / "config.json").write_text("{}")
    return folder


def _nobody_waits(seconds: float) -> None:
    raise AssertionError("a simulation does not sleep")
