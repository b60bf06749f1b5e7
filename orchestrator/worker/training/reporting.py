"""Reports up, Directives down, on a side thread that never holds the step loop.

A report that cannot be delivered is dropped: what must not be lost is in the object store.
"""

from __future__ import annotations

import os
import threading
import time
from typing import Any

import httpx

from orchestrator.records import REPORT_TOKEN_VARIABLE, Action, Directive, Launch, Phase, Report

SEND_EVERY_SECONDS = 0.3
HEARTBEAT_SECONDS = 1.5


class Reporter:
    """One a rank; only rank 0 speaks today. Use as a context manager."""

    def __init__(self, launch: Launch, rank: int) -> None:
        self._launch = launch
        self._rank = rank
        self._url = launch.report_url if rank == 0 else None
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._closed = threading.Event()
        self._state: dict[str, Any] = {"phase": Phase.IMPORT}
        self._dirty = True
        self._sequence = 0
        self._action = Action.CONTINUE
        self._thread = threading.Thread(target=self._run, name="reporter", daemon=True)

    def __enter__(self) -> Reporter:
        if self._url is not None:
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closed.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(timeout=5)

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
        last = 0.0
        with httpx.Client(headers=headers, timeout=5.0, trust_env=False) as client:
            while not self._closed.is_set():
                self._wake.wait(SEND_EVERY_SECONDS)
                self._wake.clear()
                if self._dirty or time.monotonic() - last > HEARTBEAT_SECONDS:
                    self._send(client)
                    last = time.monotonic()
            if self._dirty:
                self._send(client)

    def _send(self, client: httpx.Client) -> None:
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
            self._dirty = False
            self._state.pop("message", None)
        try:
            assert self._url is not None
            answer = client.post(self._url, content=report.model_dump_json())
            answer.raise_for_status()
            self._action = Directive.model_validate_json(answer.content).action
        except (httpx.HTTPError, ValueError):
            pass  # the controller is away: training goes on
