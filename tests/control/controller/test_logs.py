"""What an Attempt has printed, from wherever it can be had."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.control.backends.base import AttemptHandle
from orchestrator.control.backends.fake import FakeBackend
from orchestrator.control.controller.logs import LiveLogs, LogReader
from orchestrator.records import Attempt, AttemptState, Job
from orchestrator.storage.checkpoints import CheckpointStore
from orchestrator.storage.objectstore import open_store
from tests.control.builders import report
from tests.control.store.builders import a_job


class Driver(FakeBackend):
    """Prints what it is told to."""

    text = ""

    def log_tail(self, handle: AttemptHandle, lines: int) -> str:
        return "\n".join(self.text.splitlines()[-lines:])


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return a_job(store=str(tmp_path / "store"))


@pytest.fixture
def live(tmp_path: Path) -> LiveLogs:
    return LiveLogs(tmp_path / "live")


@pytest.fixture
def driver() -> Driver:
    return Driver()


@pytest.fixture
def reader(live: LiveLogs, driver: Driver) -> LogReader:
    return LogReader(live, {"fake": driver}, open_store)


def attempt(job: Job, state: AttemptState = AttemptState.RUNNING) -> Attempt:
    return Attempt(job=job.id, number=1, backend="fake", created_at=0.0, state=state)


def prints(live: LiveLogs, job: Job, text: str, offset: int) -> None:
    live.take(report(1, job=job.id, log=text, log_offset=offset))


def keep(job: Job, folder: Path, text: bytes) -> None:
    file = folder / "rank.log"
    file.write_bytes(text)
    CheckpointStore(open_store(job.store), job.id).put_log(1, 0, file)


def test_pieces_come_in_any_order_and_twice(live: LiveLogs, job: Job, reader: LogReader) -> None:
    prints(live, job, "one\n", 0)
    prints(live, job, "two\n", 4)
    prints(live, job, "one\n", 0)
    assert reader.read(job, attempt(job), 0, 0) == b"one\ntwo\n"
    assert reader.read(job, attempt(job), 0, 4) == b"two\n"
    assert reader.read(job, attempt(job), 0, 8) == b""


def test_what_another_server_took_in_is_read_from_the_store(
    live: LiveLogs, job: Job, reader: LogReader, tmp_path: Path
) -> None:
    """A server that took over has the end only; the rank keeps all of it in the store."""
    prints(live, job, "three\n", 8)
    assert reader.read(job, attempt(job), 0, 0) == b""
    keep(job, tmp_path, b"one\ntwo\n")
    assert reader.read(job, attempt(job), 0, 0) == b"one\ntwo\n"
    assert reader.read(job, attempt(job), 0, 8) == b"three\n"


def test_after_the_end_the_store_has_the_rest(
    live: LiveLogs, job: Job, reader: LogReader, tmp_path: Path
) -> None:
    prints(live, job, "one\n", 0)
    keep(job, tmp_path, b"one\ntwo\nthe end\n")
    ended = attempt(job, AttemptState.ENDED)
    assert reader.read(job, ended, 0, 4) == b"two\nthe end\n"
    assert reader.read(job, ended, 1, 0) == b""


def test_a_driver_that_prints_much_is_followed_without_a_gap(
    job: Job, reader: LogReader, driver: Driver
) -> None:
    driver.text = "".join(f"line {n}\n" for n in range(20_000))
    first = reader.read(job, attempt(job), None, 0)
    assert first.count(b"\n") == 19_999
    driver.text += "one more\n"
    assert reader.read(job, attempt(job), None, len(first)) == b"\none more"
