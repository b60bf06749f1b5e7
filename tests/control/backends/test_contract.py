"""What every backend keeps, asked of each of them: two fakes, and three that talk to a real Ray."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from orchestrator.control.backends.base import (
    AttemptHandle,
    AttemptStatus,
    Backend,
    BackendWithLogFiles,
    LaunchRequest,
    NodeInfo,
    Observation,
)
from orchestrator.control.backends.fake import FakeBackend
from orchestrator.control.backends.fake_machines import FakeMachines, FakeScript
from orchestrator.control.backends.local import LocalBackend, RayStart
from orchestrator.control.backends.local_served import ServedLocalBackend
from orchestrator.control.backends.ray import RayBackend
from orchestrator.records import Reason
from orchestrator.records.ids import job_id
from tests.control.builders import Clock, launch_of
from tests.embedded import short_root

PROGRAMS = {
    "succeeds": "print('all went well')",
    "fails": "import sys; print('no such luck'); sys.exit(3)",
    "hangs": "import time; print('waiting', flush=True); time.sleep(600)",
    "tells": "import os; print('GREETING is', os.environ['GREETING'])",
}
NODE = NodeInfo("n-0", cpus=2, memory_bytes=8_000_000_000)


@dataclass
class Bench:
    """One backend, and how its programs are named and its time passes."""

    backend: Backend
    path: Callable[[str, str], str]  # (program, job) -> what its launch is given
    wait: Callable[[], None]
    again: Callable[[], Backend] | None = None  # the same place, seen by another process

    def start(self, program: str, salt: str) -> AttemptHandle:
        """Launches a program as a job of its own."""
        job = job_id(time.time(), salt.encode()[-10:].rjust(10, b"0"))
        path = self.path(program, job)
        request = LaunchRequest(job, 1, path, environment={"GREETING": "hello"})
        handle = self.backend.launch(request)
        assert self.backend.launch(request) == handle  # the second time changes nothing
        return handle

    def until(self, handle: AttemptHandle, done: Callable[[AttemptStatus], bool]) -> Observation:
        for _ in range(1200):
            seen = self.backend.observe(handle)
            if done(seen.status):
                return seen
            self.wait()
        raise AssertionError(f"still {seen}")

    def ended(self, handle: AttemptHandle) -> Observation:
        return self.until(handle, lambda status: status.is_terminal)


def scripted(folder: Path) -> Bench:
    endings = {
        "succeeds": Observation(AttemptStatus.SUCCEEDED, exit_code=0),
        "fails": Observation(AttemptStatus.FAILED, exit_code=3),
    }

    def play(request: LaunchRequest) -> Iterator[Observation]:
        yield Observation(AttemptStatus.PENDING)
        ending = endings.get(request.launch_path)
        while ending is None:
            yield Observation(AttemptStatus.RUNNING)
        yield ending

    return Bench(FakeBackend(play), lambda program, job: program, lambda: None)


def machines(folder: Path) -> Bench:
    clock = Clock()
    script = FakeScript((NODE,), seconds=100.0, fails={"fails": Reason.OUT_OF_MEMORY})

    def made() -> FakeMachines:
        return FakeMachines("toy", folder / "state", script, clock=clock)

    def path(program: str, job: str) -> str:
        file = folder / f"{program}.json"
        file.write_text(launch_of(job, program, store=folder / "models").model_dump_json())
        return str(file)

    return Bench(made(), path, lambda: clock.sleep(10.0), made)


def on_ray(backend: Backend, folder: Path, again: Callable[[], Backend] | None = None) -> Bench:
    def path(program: str, job: str) -> str:
        file = folder / f"{program}.py"
        file.write_text(PROGRAMS[program])
        return str(file)

    return Bench(backend, path, lambda: time.sleep(0.1), again)


@pytest.fixture(scope="module")
def served() -> Iterator[Callable[[], Backend]]:
    """A machine whose Ray outlives whoever started it; servers come and go."""
    with short_root() as root:
        start = RayStart(root, command=lambda path: (sys.executable, path))

        def server() -> Backend:
            return ServedLocalBackend(root / "state", start)

        yield server
        server().close()


def cluster_of(local: LocalBackend, folder: Path) -> Callable[[], Backend]:
    """The suite's embedded Ray as a cluster somebody else runs; "Python" runs the launch's file."""
    if local.cluster is None or local.cluster.address is None:
        (folder / "nothing.py").write_text("")
        local.launch(LaunchRequest("job-warm-up", 1, str(folder / "nothing.py")))
    assert local.cluster is not None
    assert local.cluster.address is not None
    url, token = local.cluster.address.dashboard_url, local.cluster.token
    python = folder / "python"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$4"\n')  # -m MODULE --launch FILE
    python.chmod(0o755)
    return lambda: RayBackend("somewhere", url, token, python=str(python))


ALL = [
    "scripted",
    "machines",
    *(pytest.param(n, marks=pytest.mark.cluster) for n in ("local", "served", "ray")),
]


@pytest.fixture(params=ALL)
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Bench:
    match request.param:
        case "scripted":
            return scripted(tmp_path)
        case "machines":
            return machines(tmp_path)
        case "local":
            return on_ray(request.getfixturevalue("local_backend"), tmp_path)
        case "served":
            server = request.getfixturevalue("served")
        case _:
            server = cluster_of(request.getfixturevalue("local_backend"), tmp_path)
    return on_ray(server(), tmp_path, server)


@pytest.mark.parametrize(
    ("program", "status", "is_zero"),
    [("succeeds", AttemptStatus.SUCCEEDED, True), ("fails", AttemptStatus.FAILED, False)],
)
def test_an_attempt_ends_as_its_process_did(
    bench: Bench, tmp_path: Path, program: str, status: AttemptStatus, is_zero: bool
) -> None:
    handle = bench.start(program, tmp_path.name)
    seen = bench.ended(handle)
    assert (seen.status, seen.exit_code == 0) == (status, is_zero)
    assert seen.exit_code is not None
    assert bench.backend.observe(handle).status is status  # and stays so


def test_stopping(bench: Bench, tmp_path: Path) -> None:
    handle = bench.start("hangs", tmp_path.name)
    bench.until(handle, lambda status: status is AttemptStatus.RUNNING)
    bench.backend.stop(handle)
    assert bench.ended(handle).status is AttemptStatus.STOPPED
    bench.backend.stop(handle)  # does nothing
    assert bench.backend.observe(handle).status is AttemptStatus.STOPPED


def test_what_was_never_launched_is_absent(bench: Bench, tmp_path: Path) -> None:
    bench.start("succeeds", tmp_path.name)
    stranger = AttemptHandle("job-00000000000000000000000000", 7)
    assert bench.backend.observe(stranger).status is AttemptStatus.ABSENT
    bench.backend.stop(stranger)
    assert bench.backend.observe(stranger).status is AttemptStatus.ABSENT
    assert bench.backend.log_tail(stranger, 5) == ""


def test_there_are_nodes_with_room(bench: Bench, tmp_path: Path) -> None:
    bench.start("succeeds", tmp_path.name)
    nodes = bench.backend.nodes()
    assert len({node.name for node in nodes}) == len(nodes) == 1
    assert nodes[0].is_alive
    assert nodes[0].cpus >= 1
    assert nodes[0].memory_bytes > 100_000_000
    assert bench.backend.nodes() == nodes


def test_another_process_finds_what_was_launched(bench: Bench, tmp_path: Path) -> None:
    if bench.again is None:
        pytest.skip("this one lives in its process")
    handle = bench.start("hangs", tmp_path.name)
    bench.until(handle, lambda status: status is AttemptStatus.RUNNING)
    bench.backend.close(keep=True)
    other = Bench(bench.again(), bench.path, bench.wait)
    assert other.backend.observe(handle).status is AttemptStatus.RUNNING
    other.backend.stop(handle)
    assert other.ended(handle).status is AttemptStatus.STOPPED
    other.backend.close(keep=True)


@pytest.mark.cluster
@pytest.mark.parametrize("kind", ["local", "ray"])
def test_the_environment_reaches_the_driver_and_its_output_the_log(
    local_backend: LocalBackend, tmp_path: Path, kind: str
) -> None:
    backend: Backend = local_backend
    if kind == "ray":
        backend = cluster_of(local_backend, tmp_path)()
    bench = on_ray(backend, tmp_path)
    handle = bench.start("tells", f"{kind}-tells")
    assert bench.ended(handle).exit_code == 0
    assert backend.log_tail(handle, 1) == "GREETING is hello"
    assert isinstance(backend, BackendWithLogFiles)
    assert backend.keep_logs(handle, tmp_path / "logs")
    (kept,) = (tmp_path / "logs").rglob(f"job-driver-{handle.submission_id}.log")
    assert kept.read_text().endswith("GREETING is hello\n")


@pytest.mark.cluster
def test_a_cluster_without_this_package_is_told_from_a_failed_job(
    local_backend: LocalBackend, tmp_path: Path
) -> None:
    make = cluster_of(local_backend, tmp_path)
    (tmp_path / "python").write_text(f'#!/bin/sh\nexec {sys.executable} -I -S "$@"\n')
    bench = on_ray(make(), tmp_path)
    seen = bench.ended(bench.start("succeeds", "no-package"))
    assert (seen.status, seen.reason) == (AttemptStatus.FAILED, Reason.VERSION_MISMATCH)
    assert seen.hint is not None
    assert "uv pip install 'finetune-orchestrator[worker]==" in seen.hint
