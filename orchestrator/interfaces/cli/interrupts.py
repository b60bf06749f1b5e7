"""Ctrl-C and SIGTERM during a run: first save and stop, then stop at once. Called by `run`."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Protocol


class Stoppable(Protocol):
    """The server's StopSignal, as far as signals are concerned."""

    @property
    def level(self) -> int: ...

    def request(self) -> None: ...


@contextmanager
def stop_on_signals(stop: Stoppable, told: Callable[[int], None]) -> Iterator[None]:
    """Within the block SIGINT asks once, then insists; SIGTERM only ever asks.

    A supervisor may send SIGTERM more than once and means the same each time. A third Ctrl-C does
    nothing more: raising here would break the cleaning up that the second one has begun.

    Args:
        stop: What to request.
        told: Called with the new level, inside the handler.
    """

    def interrupt(number: int, frame: FrameType | None) -> None:
        if stop.level < 2:
            stop.request()
            told(stop.level)

    def terminate(number: int, frame: FrameType | None) -> None:
        if stop.level == 0:
            stop.request()
            told(stop.level)

    before = {
        signal.SIGINT: signal.signal(signal.SIGINT, interrupt),
        signal.SIGTERM: signal.signal(signal.SIGTERM, terminate),
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
