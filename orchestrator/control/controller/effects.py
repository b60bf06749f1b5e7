"""Where the controller's acts are carried out, so that no slow cluster or store holds its loop.

The loop starts an act and finds its result in a later cycle. In tests and simulations they are
carried out at once, or when the scenario says.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

from orchestrator.control.controller.values import Act

NUM_THREADS = 32


@dataclass(frozen=True, slots=True)
class Key:
    """One act on one Attempt; at most one of a kind is under way."""

    job: str
    attempt: int
    act: Act
    term: int = 0  # token of the lease it was begun under


Result = tuple[Key, object]
"""What came of an act: its value, or the exception it ended with."""


class Effects(Protocol):
    """Carries acts out."""

    def start(self, key: Key, work: Callable[[], object]) -> None: ...

    def finished(self) -> list[Result]:
        """What has ended since the last call, in that order."""
        ...

    def under_way(self, job: str, attempt: int) -> frozenset[Act]: ...

    def close(self) -> None:
        """Begins nothing more; what is under way is left to itself."""
        ...


class ThreadedEffects:
    """Acts on threads of this process. `wake` is called when one has ended."""

    def __init__(self, wake: Callable[[], None] = lambda: None, threads: int = NUM_THREADS) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="act")
        self._ended: queue.SimpleQueue[Result] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._busy: dict[tuple[str, int], set[Act]] = {}
        self._wake = wake

    def start(self, key: Key, work: Callable[[], object]) -> None:
        with self._lock:
            acts = self._busy.setdefault((key.job, key.attempt), set())
            if key.act in acts:
                return
            acts.add(key.act)
        self._pool.submit(self._carry_out, key, work)

    def finished(self) -> list[Result]:
        ended: list[Result] = []
        while True:
            try:
                key, result = self._ended.get_nowait()
            except queue.Empty:
                return ended
            with self._lock:
                acts = self._busy.get((key.job, key.attempt), set())
                acts.discard(key.act)
                if not acts:
                    self._busy.pop((key.job, key.attempt), None)
            ended.append((key, result))

    def under_way(self, job: str, attempt: int) -> frozenset[Act]:
        with self._lock:
            return frozenset(self._busy.get((job, attempt), ()))

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _carry_out(self, key: Key, work: Callable[[], object]) -> None:
        try:
            result: object = work()
        except Exception as error:  # noqa: BLE001 (the loop decides what it means)
            result = error
        self._ended.put((key, result))
        self._wake()


class InlineEffects:
    """Acts carried out where they are started; their results wait for the next cycle."""

    def __init__(self) -> None:
        self._ended: list[Result] = []

    def start(self, key: Key, work: Callable[[], object]) -> None:
        try:
            result: object = work()
        except Exception as error:  # noqa: BLE001 (the loop decides what it means)
            result = error
        self._ended.append((key, result))

    def finished(self) -> list[Result]:
        ended, self._ended = self._ended, []
        return ended

    def under_way(self, job: str, attempt: int) -> frozenset[Act]:
        return frozenset(
            key.act for key, _ in self._ended if (key.job, key.attempt) == (job, attempt)
        )

    def close(self) -> None:
        self._ended = []
