"""Virtual time: what happens next, in one order for one seed."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from itertools import count

START = 1_800_000_000.0


class Timeline:
    """Actions by time. An action may let time pass itself: others happen within it meanwhile."""

    def __init__(self) -> None:
        self.now = START
        self.depth = 0
        self._numbers = count()
        self._actions: list[tuple[float, int, Callable[[], None]]] = []

    @property
    def elapsed(self) -> float:
        return self.now - START

    def after(self, seconds: float, action: Callable[[], None]) -> None:
        heapq.heappush(self._actions, (self.now + seconds, next(self._numbers), action))

    def run(self, seconds: float, until: Callable[[], bool] = lambda: False) -> None:
        """Lets time pass, or less of it if `until` holds before."""
        end = self.now + seconds
        self.depth += 1
        try:
            while self._actions and self._actions[0][0] <= end and not until():
                time, _, action = heapq.heappop(self._actions)
                self.now = max(self.now, time)
                action()
            if not until():
                self.now = max(self.now, end)
        finally:
            self.depth -= 1
