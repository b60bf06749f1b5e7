"""How long an operation outlives a database that is away: seconds, then its caller is told.

Used by `Database` around whole transactions. Longer is the caller's business: the controller's loop
comes round again, a request is answered with 503.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from orchestrator.errors import DatabaseUnavailable

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Retry:
    """One try more after each of the delays."""

    delays_seconds: tuple[float, ...] = (0.05, 0.15, 0.4, 0.8, 1.6)
    sleep: Callable[[float], None] = time.sleep

    def call(self, operation: Callable[[], T]) -> T:
        """The operation's result; only DatabaseUnavailable is retried, the last one is raised."""
        for delay in self.delays_seconds:
            try:
                return operation()
            except DatabaseUnavailable:
                self.sleep(delay)
        return operation()
