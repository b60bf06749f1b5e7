"""What every backend keeps, asked of each of them. `local` is a real embedded Ray."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from orchestrator.control.backends.base import (
    AttemptHandle,
    AttemptStatus,
    Backend,
    BackendWithLogFiles,
    LaunchRequest,
    Observation,
)
from orchestrator.control.backends.fake import FakeBackend
from orchestrator.records.ids import job_id

PROGRAMS = {
    "succeeds": "print('all went well')",
    "fails": "import sys; print('no such luck'); sys.exit(3)",
    "hangs": "import time; print('waiting', flush=True); time.sleep(600)",
    "tells": "import os; print('GREETING is', os.environ['GREETING'])",
}
RUNNING = Observation(AttemptStatus.RUNNING)
ENDINGS = {
    "succeeds": Observation(AttemptStatus.SUCCEEDED, exit_code=0),
    "fails": Observation(AttemptStatus.FAILED, exit_code=3),
    "tells": Observation(AttemptStatus.SUCCEEDED, exit_code=0),
}


def fake_program(request: LaunchRequest) -> Iterator[Observation]:
    yield RUNNING
    ending = ENDINGS.get(Path(request.launch_path).stem)
    while ending is None:
        yield RUNNING
    yield ending


@pytest.fixture(params=["fake", pytest.param("local", marks=pytest.mark.cluster)])
def backend(request: pytest.FixtureRequest) -> Backend:
    if request.param == "local":
        found: Backend = request.getfixturevalue("local_backend")
        return found
    return FakeBackend(fake_program)


Start = Callable[[str], AttemptHandle]


@pytest.fixture
def start(backend: Backend, tmp_path: Path) -> Start:
    """Launches one of the programs as a job of its own."""

    def begin(program: str) -> AttemptHandle:
        script = tmp_path / f"{program}.py"
        script.write_text(PROGRAMS[program])
        job = job_id(time.time(), (tmp_path.name + program).encode()[-10:].rjust(10, b"0"))
        request = LaunchRequest(job, 1, str(script), environment={"GREETING": "hello"})
        handle = backend.launch(request)
        assert backend.launch(request) == handle  # the second time changes nothing
        return handle

    return begin


def ended(backend: Backend, handle: AttemptHandle) -> Observation:
    for _ in range(1200):
        seen = backend.observe(handle)
        if seen.status.is_terminal:
            return seen
        time.sleep(0 if isinstance(backend, FakeBackend) else 0.1)
    raise AssertionError(f"still {seen}")


def runs(backend: Backend, handle: AttemptHandle) -> None:
    for _ in range(1200):
        if backend.observe(handle).status is AttemptStatus.RUNNING:
            return
        time.sleep(0.1)
    raise AssertionError("it never ran")


@pytest.mark.parametrize(
    ("program", "status", "exit_code"),
    [("succeeds", AttemptStatus.SUCCEEDED, 0), ("fails", AttemptStatus.FAILED, 3)],
)
def test_an_attempt_ends_as_its_process_did(
    backend: Backend, start: Start, program: str, status: AttemptStatus, exit_code: int
) -> None:
    handle = start(program)
    seen = ended(backend, handle)
    assert (seen.status, seen.exit_code) == (status, exit_code)
    assert backend.observe(handle).status is status  # and stays so


def test_stopping(backend: Backend, start: Start) -> None:
    handle = start("hangs")
    runs(backend, handle)
    backend.stop(handle)
    assert ended(backend, handle).status is AttemptStatus.STOPPED
    backend.stop(handle)  # does nothing


def test_what_was_never_launched_is_absent(backend: Backend, start: Start) -> None:
    start("succeeds")
    stranger = AttemptHandle("job-00000000000000000000000000", 7)
    assert backend.observe(stranger).status is AttemptStatus.ABSENT
    backend.stop(stranger)
    assert backend.log_tail(stranger, 5) == ""


def test_there_is_room_for_someone(backend: Backend) -> None:
    (node,) = backend.nodes()
    assert node.is_alive
    assert node.cpus >= 1
    assert node.memory_bytes > 100_000_000


@pytest.mark.cluster
def test_the_environment_reaches_the_driver_and_its_output_the_log(
    local_backend: Backend, tmp_path: Path
) -> None:
    script = tmp_path / "tells.py"
    script.write_text(PROGRAMS["tells"])
    job = job_id(time.time(), b"environmen")
    request = LaunchRequest(job, 1, str(script), environment={"GREETING": "hello"})
    handle = local_backend.launch(request)
    assert ended(local_backend, handle).exit_code == 0
    assert local_backend.log_tail(handle, 1) == "GREETING is hello"
    assert isinstance(local_backend, BackendWithLogFiles)
    assert local_backend.keep_logs(handle, tmp_path / "logs")
    kept = tmp_path / f"logs/job-driver-{handle.submission_id}.log"
    assert kept.read_text().endswith("GREETING is hello\n")
