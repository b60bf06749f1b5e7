"""The one way to ask a run to end, safe to use from a signal handler."""

from __future__ import annotations


class StopSignal:
    """Level 0: go on. 1: save a checkpoint and stop. 2: stop at once.

    Only ever raised by an assignment, and polled: a lock or condition taken in a signal handler
    could be held by the very thread it interrupts.
    """

    def __init__(self) -> None:
        self._level = 0

    @property
    def level(self) -> int:
        return self._level

    def request(self) -> None:
        """Once: save and stop. Again: stop at once."""
        self._level = min(self._level + 1, 2)
