from __future__ import annotations

from collections.abc import Callable

import pytest

from orchestrator.errors import StoreDenied, StoreUnavailable
from orchestrator.storage.retry import Retry


class World:
    """A clock that only sleeping moves, and a store that is away until `back_at`."""

    def __init__(self, back_at: float) -> None:
        self.now = 100.0
        self.back_at = 100.0 + back_at
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    def operation(self) -> str:
        if self.now < self.back_at:
            raise StoreUnavailable("away")
        return "done"

    def retry(self, seconds: float, jitter: Callable[[], float] = lambda: 1.0) -> Retry:
        return Retry(seconds, sleep=self.sleep, clock=lambda: self.now, jitter=jitter)


def test_backs_off_exponentially_up_to_a_cap() -> None:
    world = World(back_at=30.0)
    assert world.retry(120.0).call(world.operation) == "done"
    assert world.slept == [0.25, 0.5, 1.0, 2.0, 4.0, 5.0, 5.0, 5.0, 5.0, 5.0]


def test_jitter_takes_up_to_half_of_a_delay() -> None:
    world = World(back_at=0.8)
    world.retry(120.0, jitter=lambda: 0.0).call(world.operation)
    assert world.slept == [0.125, 0.25, 0.5]


def test_gives_up_after_its_time_with_one_last_try_at_the_end() -> None:
    world = World(back_at=1000.0)
    with pytest.raises(StoreUnavailable):
        world.retry(10.0).call(world.operation)
    assert sum(world.slept) == 10.0
    assert world.now == 110.0


def test_comes_back_in_the_last_moment() -> None:
    world = World(back_at=10.0)
    assert world.retry(10.0).call(world.operation) == "done"


def test_zero_seconds_means_one_try() -> None:
    world = World(back_at=1.0)
    with pytest.raises(StoreUnavailable):
        world.retry(0.0).call(world.operation)
    assert world.slept == []


def test_other_errors_are_not_retried() -> None:
    world = World(back_at=0.0)

    def denied() -> None:
        raise StoreDenied("no")

    with pytest.raises(StoreDenied):
        world.retry(120.0).call(denied)
    assert world.slept == []
