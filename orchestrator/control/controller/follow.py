"""Follows one live Attempt to its end: observe, decide, apply, once a cycle."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from orchestrator.control.backends.base import (
    AttemptHandle,
    AttemptStatus,
    Backend,
    Observation,
)
from orchestrator.control.controller.decisions import Act, Snapshot, decide
from orchestrator.control.controller.inbox import AttemptInbox
from orchestrator.control.controller.journal import Journal
from orchestrator.control.controller.stopping import StopSignal
from orchestrator.records import Action, JobState, Phase, Reason, Report

CYCLE_SECONDS = 0.2
LOOK_SECONDS = 1.0  # each look costs the cluster a request; Reports are what tells quickly


class Listener(Protocol):
    """Who is told what happens; called from the controller's thread."""

    def phase(self, phase: Phase, message: str) -> None: ...

    def report(self, report: Report) -> None: ...


@dataclass
class Following:
    """One Attempt being followed. Time and sleep are arguments, so tests step it."""

    backend: Backend
    handle: AttemptHandle
    inbox: AttemptInbox
    journal: Journal
    listener: Listener
    stop: StopSignal
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    observation: Observation = field(default=Observation(AttemptStatus.PENDING), init=False)
    phase: Phase | None = field(default=None, init=False)  # of the newest Report
    _asked: Act | None = field(default=None, init=False)
    _next_look: float = field(default=0.0, init=False)

    def to_the_end(self) -> Observation:
        """Blocks until the Attempt has ended, or until nobody wants to wait for it."""
        while not self.cycle():
            self.sleep(CYCLE_SECONDS)
        return self.observation

    def cycle(self) -> bool:
        """One step of the loop; true when there is nothing more to follow."""
        # 1. Observe: what came in, and now and then the backend.
        for report in self.inbox.take():
            self.phase = report.phase
            self.listener.report(report)
        if self.clock() >= self._next_look:
            self.observation = self.backend.observe(self.handle)
            self._next_look = self.clock() + LOOK_SECONDS
        # 2. Decide.
        act = decide(
            Snapshot(
                state=self.journal.state,
                observation=self.observation,
                phase=self.phase,
                stop_level=self.stop.level,
                asked=self._asked,
            )
        )
        # 3. Apply.
        self._apply(act)
        return act in (Act.CONCLUDE, Act.ABANDON)

    def _apply(self, act: Act) -> None:
        if act is Act.BEGIN:
            self.journal.move(JobState.RUNNING, Reason.TRAINING)
        elif act is Act.ASK_TO_SAVE:
            self._begin_to_stop(act, "saving a checkpoint")
            self.inbox.answer_with(Action.SAVE_AND_STOP)
        elif act in (Act.STOP, Act.ABANDON):
            self._begin_to_stop(act, "stopping")
            self.backend.stop(self.handle)
        elif act is Act.CONCLUDE:
            for report in self.inbox.take():
                self.listener.report(report)

    def _begin_to_stop(self, act: Act, message: str) -> None:
        self._asked = act
        if self.journal.state is not JobState.STOPPING:
            self.journal.move(JobState.STOPPING, Reason.INTERRUPTED, message)
