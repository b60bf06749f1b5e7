"""Machines that are not there, for a server that runs for real: `kind = "fake"` in the settings.

An Attempt is a file in a folder of the operator's `state_dir`, so it survives the server, however
that ends: what it does follows from the file, the time and the files of those who stopped it.

    <job>-a<n>.json    written once, by the launch: what is to happen, and since when
    <job>-a<n>.stop    written once, by the first stop: when
    <job>-a<n>.done    written last, when what it leaves in the store is there

Its sibling `fake` is the one for tests that play every fault in one process.
"""

from __future__ import annotations

import fcntl
import fnmatch
import os
import secrets
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from orchestrator.control.backends.base import (
    AttemptHandle,
    AttemptStatus,
    LaunchRequest,
    NodeInfo,
    Observation,
)
from orchestrator.control.backends.fake_worker import leave_failure, leave_model
from orchestrator.errors import LaunchFailed, OrchestratorError, StoreError
from orchestrator.records import Launch, Reason, Record
from orchestrator.storage.reading import read_text

PENDING_SHARE = 0.1  # of an Attempt's time, in which its gang comes up


class _Attempt(Record):
    """What is to happen, decided once by the launch."""

    launch_path: str
    launched_at: float
    seconds: float
    reason: Reason | None = None  # it fails with; None: it succeeds


@dataclass(frozen=True, slots=True)
class FakeScript:
    """How Attempts go."""

    nodes: tuple[NodeInfo, ...]
    seconds: float  # an Attempt takes
    fails: Mapping[str, Reason] = field(default_factory=dict)  # by pattern of the job's name


class FakeMachines:
    """Safe to share between threads and between processes."""

    def __init__(
        self,
        name: str,
        folder: Path,
        script: FakeScript,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """
        Args:
            name: Of this backend.
            folder: Where its Attempts are remembered; made if absent.
            script: How they go.
            clock: Seconds since the epoch: the same for every process that shares the folder.
        """
        self.name = name
        self._folder = folder
        self._script = script
        self._clock = clock

    def nodes(self) -> tuple[NodeInfo, ...]:
        return self._script.nodes

    def launch(self, request: LaunchRequest) -> AttemptHandle:
        handle = AttemptHandle(request.job, request.attempt)
        if self._attempt(handle) is not None:
            return handle
        launch = _launch(request.launch_path)
        attempt = _Attempt(
            launch_path=request.launch_path,
            launched_at=self._clock(),
            seconds=self._script.seconds,
            reason=self._reason(launch.spec.metadata.name),
        )
        self._write_once(self._file(handle, "json"), attempt.model_dump_json())
        return handle

    def observe(self, handle: AttemptHandle) -> Observation:
        attempt = self._attempt(handle)
        if attempt is None:
            return Observation(AttemptStatus.ABSENT, "never launched here")
        now, ends_at = self._clock(), attempt.launched_at + attempt.seconds
        stopped_at = self._stopped_at(handle)
        if stopped_at is not None and stopped_at < ends_at:
            return Observation(AttemptStatus.STOPPED, "stopped")
        if now < attempt.launched_at + PENDING_SHARE * attempt.seconds:
            return Observation(AttemptStatus.PENDING)
        if now < ends_at:
            return Observation(AttemptStatus.RUNNING)
        try:
            self._leave_once(handle, attempt)
        except StoreError as error:  # as a real one: it waits for its store
            return Observation(AttemptStatus.RUNNING, str(error))
        if attempt.reason is not None:
            return Observation(AttemptStatus.FAILED, str(attempt.reason), exit_code=1)
        return Observation(AttemptStatus.SUCCEEDED, exit_code=0)

    def stop(self, handle: AttemptHandle) -> None:
        if self._attempt(handle) is not None:
            self._write_once(self._file(handle, "stop"), repr(self._clock()))

    def log_tail(self, handle: AttemptHandle, lines: int) -> str:
        attempt = self._attempt(handle)
        if attempt is None or lines < 1:
            return ""
        return f"{handle.submission_id} takes {attempt.seconds} s from {attempt.launched_at}"

    def close(self, *, keep: bool = False) -> None:
        """Nothing is held: files stay in any case, as records of a cluster's jobs do."""

    def _reason(self, job_name: str) -> Reason | None:
        for pattern, reason in self._script.fails.items():
            if fnmatch.fnmatchcase(job_name, pattern):
                return reason
        return None

    def _leave_once(self, handle: AttemptHandle, attempt: _Attempt) -> None:
        """What a real Attempt leaves in the store, by whoever looks first; again it does nothing.

        Whoever is killed in between is followed by the next who looks: each part is written once.
        """
        done = self._file(handle, "done")
        if done.exists():
            return
        with self._file(handle, "lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if done.exists():
                return
            launch = _launch(attempt.launch_path)
            if attempt.reason is None:
                leave_model(launch, attempt.seconds)
            else:
                leave_failure(launch, attempt.reason)
            done.touch()

    def _attempt(self, handle: AttemptHandle) -> _Attempt | None:
        try:
            return _Attempt.model_validate_json(self._file(handle, "json").read_bytes())
        except FileNotFoundError:
            return None

    def _stopped_at(self, handle: AttemptHandle) -> float | None:
        try:
            return float(self._file(handle, "stop").read_text())
        except FileNotFoundError:
            return None

    def _file(self, handle: AttemptHandle, kind: str) -> Path:
        return self._folder / f"{handle.submission_id}.{kind}"

    def _write_once(self, file: Path, text: str) -> None:
        """Whole or not at all, and the first one stays."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        part = file.with_name(f".{file.name}.{secrets.token_hex(4)}")
        try:
            with part.open("w") as stream:
                stream.write(text)
                stream.flush()
                os.fsync(stream.fileno())
            with suppress(FileExistsError):
                os.link(part, file)
        finally:
            part.unlink(missing_ok=True)


def _launch(path: str) -> Launch:
    try:
        return Launch.model_validate_json(read_text(path))
    except StoreError:
        raise
    except (OrchestratorError, ValueError) as error:
        raise LaunchFailed(f"{path} cannot be read: {error}") from None
