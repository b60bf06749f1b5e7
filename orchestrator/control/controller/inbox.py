"""Where Reports of live Attempts arrive and the Directives that answer them wait.

`interfaces.api` delivers from its own thread, the controller's loop takes; nothing here blocks.
"""

from __future__ import annotations

import hmac
import threading

from orchestrator.records import Action, Directive, Report


class AttemptInbox:
    """Reports of one Attempt up, Directives down. Thread-safe."""

    def __init__(self, job: str, attempt: int, token: str) -> None:
        self.job = job
        self.attempt = attempt
        self._token = token.encode()
        self._lock = threading.Lock()
        self._waiting: list[Report] = []
        self._newest: dict[int, int] = {}  # rank -> sequence of its newest Report
        self._directive = Directive()

    def opens_with(self, token: str) -> bool:
        """Whether `token` is this Attempt's; takes the same time for every wrong one."""
        return hmac.compare_digest(self._token, token.encode())

    def receive(self, report: Report) -> Directive:
        """Takes a Report in, once: a repeated or overtaken one is only answered."""
        with self._lock:
            if report.sequence > self._newest.get(report.rank, -1):
                self._newest[report.rank] = report.sequence
                self._waiting.append(report)
            return self._directive

    def answer_with(self, action: Action) -> None:
        """What every Report is answered with from now on."""
        with self._lock:
            self._directive = Directive(action=action)

    @property
    def has_reports(self) -> bool:
        """Whether any Report has ever arrived."""
        with self._lock:
            return bool(self._newest)

    def take(self) -> list[Report]:
        """The Reports that arrived since the last call, in order."""
        with self._lock:
            taken, self._waiting = self._waiting, []
            return taken


class Inboxes:
    """The inboxes of all live Attempts."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inboxes: list[AttemptInbox] = []

    def open(self, job: str, attempt: int, token: str) -> AttemptInbox:
        inbox = AttemptInbox(job, attempt, token)
        with self._lock:
            self._inboxes.append(inbox)
        return inbox

    def close(self, inbox: AttemptInbox) -> None:
        with self._lock:
            self._inboxes.remove(inbox)

    def by_token(self, token: str) -> AttemptInbox | None:
        with self._lock:
            found = [inbox for inbox in self._inboxes if inbox.opens_with(token)]
        return found[0] if found else None
