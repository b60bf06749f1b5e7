"""How soon the loop acts on what is new: nobody waits for a timer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from orchestrator.control.backends.base import NodeInfo
from orchestrator.control.backends.fake import FakeBackend
from orchestrator.control.controller.acts import Workplace
from orchestrator.control.controller.effects import InlineEffects, Key, Result
from orchestrator.control.controller.loop import PAUSE_SECONDS, Controller, Means, Rows
from orchestrator.control.store import Database
from orchestrator.records import Demand, JobState
from orchestrator.storage.objectstore import open_store
from tests.control.builders import PENDING, RUNNING, Clock, plays
from tests.control.store.builders import added, moved

S = JobState


class Woken(InlineEffects):
    """Whose results wake the loop, as those of threads do."""

    is_ringing = False

    def start(self, key: Key, work: Callable[[], object]) -> None:
        super().start(key, work)
        self.is_ringing = True

    def finished(self) -> list[Result]:
        self.is_ringing = False
        return super().finished()


class Server:
    """A controller on rows in memory, driven cycle by cycle."""

    def __init__(self, folder: Path, backend: FakeBackend) -> None:
        self.clock = Clock()
        self.folder = folder
        self.database = Database.open("sqlite://", clock=self.clock)
        self.rows = Rows.of(self.database)
        place = Workplace(
            backends={"fake": backend},
            store=open_store,
            documents=self.rows.jobs.documents,
            report_url=None,
            logs=folder / "logs",
            folders={},
            go_on=lambda job: "try again",
            seconds={},
        )
        self.effects = Woken()
        means = Means(place, self.effects, clock=self.clock)
        self.controller = Controller(self.rows, means, "here")
        self.until_nothing_moves()  # leads, and knows the machines

    def submit(self, number: int = 1) -> str:
        store = str(self.folder / "store")
        return added(self.rows.jobs, number, store=store, demand=Demand(workers=1)).id

    def state(self, job: str) -> JobState:
        found = self.rows.jobs.get(job)
        assert found is not None
        return found.state

    def until_nothing_moves(self) -> int:
        """Cycles as they follow each other without a pause; how many."""
        count = 1
        while self.controller.turn() or self.effects.is_ringing:
            count += 1
        return count

    def seconds_until(self, job: str, state: JobState, most: float = 10.0) -> float:
        """By the clock that passes between cycles only."""
        began = self.clock.now
        self.until_nothing_moves()
        while self.state(job) is not state:
            assert self.clock.now < began + most, f"{job} is {self.state(job)}"
            self.clock.sleep(PAUSE_SECONDS)
            self.until_nothing_moves()
        return self.clock.now - began


@pytest.fixture
def backend() -> FakeBackend:
    nodes = [NodeInfo("fake-0", cpus=1, memory_bytes=10**10)]
    return FakeBackend(plays(PENDING, RUNNING), nodes=nodes)


@pytest.fixture
def server(tmp_path: Path, backend: FakeBackend) -> Iterator[Server]:
    server = Server(tmp_path, backend)
    with closing(server.database), closing(server.controller):
        yield server


def test_a_job_that_comes_is_started_at_once(server: Server, backend: FakeBackend) -> None:
    """Also just after a cycle that had nobody to schedule."""
    job = server.submit()
    server.until_nothing_moves()
    assert server.state(job) is S.STARTING
    assert [request.job for request in backend.launched] == [job]


def test_a_place_that_a_user_frees_is_given_away_at_once(server: Server) -> None:
    first, second, third = (server.submit(number) for number in (1, 2, 3))
    server.seconds_until(first, S.RUNNING)
    waiting = server.rows.jobs.get(second)
    assert waiting is not None
    # Who stands first leaves the line: the others are told anew, without a timer.
    assert server.rows.jobs.apply(moved(waiting, S.CANCELLED)) is not None
    server.until_nothing_moves()
    told = server.rows.jobs.get(third)
    assert told is not None
    assert second not in "".join(wait.message for wait in told.waits)


def test_what_comes_up_is_seen_within_a_moment(server: Server) -> None:
    assert server.seconds_until(server.submit(), S.RUNNING) <= 2 * PAUSE_SECONDS + 1e-6


def test_what_takes_long_to_come_up_is_looked_at_less_and_less(tmp_path: Path) -> None:
    looks: list[float] = []
    backend = FakeBackend(plays(PENDING))
    server = Server(tmp_path, backend)
    look = backend.observe

    def counted(handle):  # type: ignore[no-untyped-def]
        looks.append(server.clock.now)
        return look(handle)

    backend.observe = counted  # type: ignore[method-assign]
    with closing(server.database), closing(server.controller):
        server.submit()
        server.until_nothing_moves()
        began = server.clock.now
        while server.clock.now < began + 60:
            server.clock.sleep(PAUSE_SECONDS)
            server.until_nothing_moves()
    early = [at for at in looks if at < began + 2]
    late = [at for at in looks if at >= began + 50]
    assert 7 <= len(early) <= 11
    assert 8 <= len(late) <= 11
    assert len(looks) < 90
