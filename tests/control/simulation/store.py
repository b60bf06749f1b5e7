"""An object store that can be away: the real one over memory, with its connection cut at will."""

from __future__ import annotations

from collections.abc import Callable

from obstore.store import MemoryStore

from orchestrator.errors import StoreUnavailable
from orchestrator.storage.connection import Client, Connection
from orchestrator.storage.locations import parse_location
from orchestrator.storage.objectstore import ObjectStore
from orchestrator.storage.retry import Retry

URL = "memory://simulation"


class CuttableConnection(Connection):
    """A connection to the history's one memory store; asked for before every operation."""

    def __init__(self, memory: MemoryStore, before: Callable[[], None]) -> None:
        super().__init__(parse_location(URL))
        self._memory = memory
        self._before = before

    def client(self, *, max_retries: int = 0) -> Client:
        self._before()
        return self._memory


def open_simulated(memory: MemoryStore, before: Callable[[], None]) -> ObjectStore:
    """The store as one process or gang sees it.

    Args:
        memory: The bytes, the same for all.
        before: Called before each operation; raises what happens to whoever makes it.
    """
    return ObjectStore(CuttableConnection(memory, before), Retry(0.0, sleep=_nobody_waits))


def away() -> StoreUnavailable:
    return StoreUnavailable(f"{URL} cannot be reached")


def _nobody_waits(seconds: float) -> None:
    raise AssertionError("a simulation does not sleep")
