"""Reports up, Directives down, on a side thread of each rank that never holds the step loop.

While nobody answers, Reports wait in order and in bounded number; training goes on, and what must
not be lost is in the object store anyway. Each answer is a Directive: `save_and_stop` is read by
the step loop of rank 0, `dump_stacks` is obeyed right here, since the step loop may hang.
"""

from __future__ import annotations

import os
import sys
import threading
import time
import traceback
from collections import deque
from pathlib import Path
from typing import Any

import httpx

from orchestrator.errors import StoreError
from orchestrator.records import REPORT_TOKEN_VARIABLE, Action, Directive, Launch, Phase, Report
from orchestrator.storage.checkpoints import CheckpointStore
from orchestrator.worker.output import output_file
from orchestrator.worker.redaction import Redaction

SEND_EVERY_SECONDS = 0.3
HEARTBEAT_SECONDS = 1.5
OTHERS_HEARTBEAT_SECONDS = 5.0  # of the ranks that have no progress to tell
MAX_WAITING = 1000  # Reports kept while nobody answers; the oldest go first
LOG_EVERY_SECONDS = 30.0
LOG_PIECE_BYTES = 10_000  # with a Report, whose size is limited


class Reporter:
    """One a rank. Use as a context manager."""

    def __init__(
        self,
        launch: Launch,
        rank: int,
        store: CheckpointStore | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        """
        Args:
            launch: What this rank is part of.
            rank: This rank.
            store: Where stacks and the rank's log are kept; absent: nowhere.
            transport: For tests; absent: the network.
        """
        self._launch = launch
        self._rank = rank
        self._store = store
        self._transport = transport
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._closed = threading.Event()
        self._state: dict[str, Any] = {"phase": Phase.IMPORT}
        self._dirty = True
        self._sequence = 0
        self._waiting: deque[Report] = deque(maxlen=MAX_WAITING)
        self._action = Action.CONTINUE
        self._dumped_for: float | None = None
        self._redaction = Redaction.of(launch.spec.spec.runtime)
        self._log = RankLog(output_file())
        self._thread = threading.Thread(target=self._run, name="reporter", daemon=True)

    def __enter__(self) -> Reporter:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closed.set()
        self._wake.set()
        self._thread.join(timeout=10)

    @property
    def should_stop(self) -> bool:
        """Whether the control plane asked for a checkpoint and an end."""
        return self._action is Action.SAVE_AND_STOP

    def update(self, **state: Any) -> None:
        """Changes what the next Report says; fields as in `Report`."""
        with self._lock:
            if self._dirty:  # what was not sent yet is not lost to what comes after it
                unsent = self._state.get("metrics", {})
                state = {**state, "metrics": {**unsent, **state.get("metrics", {})}}
                state.setdefault("message", self._state.get("message"))
            self._state.update(state)
            self._dirty = True
        if "phase" in state or "message" in state:
            self._wake.set()

    def _run(self) -> None:
        token = os.environ.get(REPORT_TOKEN_VARIABLE, "")
        headers = {"Authorization": f"Bearer {token}"}
        beat = HEARTBEAT_SECONDS if self._rank == 0 else OTHERS_HEARTBEAT_SECONDS
        sent_at = logged_at = time.monotonic() - beat
        with httpx.Client(
            headers=headers, timeout=5.0, trust_env=False, transport=self._transport
        ) as client:
            while not self._closed.is_set():
                self._wake.wait(SEND_EVERY_SECONDS)
                self._wake.clear()
                now = time.monotonic()
                is_news = (self._dirty and self._rank == 0) or self._log.has_unsent
                if is_news or now > sent_at + beat:
                    self.deliver(client)
                    sent_at = now
                if now > logged_at + LOG_EVERY_SECONDS:
                    self._keep_log()
                    logged_at = now
            self.deliver(client)
        self._keep_log()

    def deliver(self, client: httpx.Client) -> None:
        """Adds what is to say to what still waits, and sends it in order until nobody answers."""
        if self._launch.report_url is None:
            return
        with self._lock:
            self._sequence += 1
            report = Report(
                job=self._launch.job,
                attempt=self._launch.attempt,
                rank=self._rank,
                sequence=self._sequence,
                time=time.time(),
                **self._state,
            )
            is_news = self._dirty
            self._dirty = False
            self._state.pop("message", None)
        if self._waiting and not is_news:
            self._waiting[-1] = report  # a heartbeat repeats what was to be said last
        else:
            self._waiting.append(report)
        while self._waiting and self._send(client, self._waiting[0]):
            self._waiting.popleft()

    def _send(self, client: httpx.Client, report: Report) -> bool:
        """Whether it was answered, be it with a refusal."""
        assert self._launch.report_url is not None
        if len(self._waiting) == 1:  # output goes with the newest, and is not kept twice
            offset, text = self._log.unsent()
            report = report.model_copy(update={"log": text, "log_offset": offset})
        try:
            answer = client.post(self._launch.report_url, content=report.model_dump_json())
            if answer.is_server_error:
                return False  # the controller is away: training goes on
            if answer.is_success:
                self._log.mark_sent(report)
                self._obey(Directive.model_validate_json(answer.content))
        except httpx.HTTPError:
            return False
        except ValueError:
            pass  # no Directive, but an answer
        return True

    def _obey(self, directive: Directive) -> None:
        self._action = directive.action
        if directive.action is not Action.DUMP_STACKS or directive.at == self._dumped_for:
            return
        self._dumped_for = directive.at
        if self._store is not None:
            try:
                stacks = self._redaction.text(all_stacks())  # they quote lines of the code
                self._store.put_stacks(self._launch.attempt, self._rank, stacks)
            except StoreError:
                return  # stacks are a help, no duty

    def _keep_log(self) -> None:
        """Leaves this rank's output in the store: its node may be gone when somebody asks."""
        path = self._log.grown()
        if path is None or self._store is None:
            return
        try:
            self._store.put_log(self._launch.attempt, self._rank, path)
        except (StoreError, OSError):
            return


class RankLog:
    """The file this process's output goes to, where it is one: Ray gives each worker its own."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._kept = 0  # bytes that are in the store
        self._sent = 0  # bytes that the control plane has

    @property
    def has_unsent(self) -> bool:
        return self._size() > self._sent

    def unsent(self) -> tuple[int, str | None]:
        """Where the next piece begins, and the piece; None: there is nothing new."""
        if self._path is None or not self.has_unsent:
            return self._sent, None
        try:
            with self._path.open("rb") as stream:
                stream.seek(self._sent)
                return self._sent, stream.read(LOG_PIECE_BYTES).decode("latin-1")
        except OSError:
            return self._sent, None

    def mark_sent(self, report: Report) -> None:
        if report.log is not None:
            self._sent = report.log_offset + len(report.log)

    def grown(self) -> Path | None:
        """The file, if it has grown since the last call."""
        size = self._size()
        if size <= self._kept:
            return None
        self._kept = size
        return self._path

    def _size(self) -> int:
        try:
            return self._path.stat().st_size if self._path is not None else 0
        except OSError:
            return 0


def all_stacks() -> str:
    """The stacks of all threads of this process, newest call last."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    parts = []
    for ident, frame in sys._current_frames().items():
        stack = "".join(traceback.format_stack(frame))
        parts.append(f"Thread {names.get(ident, ident)}:\n{stack}")
    return "\n".join(parts)
