"""Where Reports of live Attempts arrive and are answered by a Directive.

The API delivers from its threads. The rows are the meeting point with the controller, so any
process on the database may take a Report in; listeners are those of this process only.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable

from orchestrator.control.controller.logs import LiveLogs
from orchestrator.control.store import Attempts
from orchestrator.records import Directive, Report

logger = logging.getLogger(__name__)

Listener = Callable[[Report], None]
"""Called on the thread that delivers; must not block."""


class ReportDesk:
    """Takes Reports in by their Attempt's token."""

    def __init__(
        self, attempts: Attempts, clock: Callable[[], float], logs: LiveLogs | None = None
    ) -> None:
        """
        Args:
            attempts: The rows.
            clock: Seconds since the epoch.
            logs: Where the output of ranks is kept; absent: it is dropped.
        """
        self._attempts = attempts
        self._clock = clock
        self._logs = logs
        self._listeners: list[Listener] = []

    def subscribe(self, listener: Listener) -> None:
        """From now on `listener` hears of every Report that is taken in here."""
        self._listeners.append(listener)

    def knows(self, token: str) -> bool:
        """Whether it is a live Attempt's."""
        return self._attempts.knows(_digest(token))

    def receive(self, token: str, report: Report) -> Directive | None:
        """The answer; None where the token is not the one of the Report's live Attempt.

        Raises DatabaseUnavailable: the worker keeps the Report and tries again.
        """
        directive = self._attempts.report(_digest(token), report, self._clock())
        if directive is not None:
            if self._logs is not None:
                self._keep_log(report)
            for listener in self._listeners:
                listener(report)
        return directive

    def _keep_log(self, report: Report) -> None:
        """A full disk is no reason to leave a worker without its answer: the store has it too."""
        assert self._logs is not None
        try:
            self._logs.take(report)
        except OSError as error:
            logger.warning("output of %s is not kept here: %s", report.job, error)


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
