"""The Ray of a server, over a stand-in that starts in no time: who finds it, who ends it."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from orchestrator.control.backends.cluster import ClusterSize, remove_stale
from orchestrator.control.backends.detached import DetachedCluster
from orchestrator.errors import LaunchFailed
from orchestrator.server import end_local
from orchestrator.settings import load_settings
from tests.control.backends.standin import stand_in
from tests.embedded import family, left_after, short_root

SIZE = ClusterSize(2)

SERVER = """
import sys, time
from pathlib import Path
from orchestrator.control.backends.cluster import ClusterSize
from orchestrator.control.backends.detached import DetachedCluster
cluster = DetachedCluster.start(Path(sys.argv[1]), Path(sys.argv[2]), ClusterSize(2))
if len(sys.argv) > 3:
    cluster.wait_ready(60)
print(cluster.cluster_id, flush=True)
time.sleep(600)
"""


@pytest.fixture
def root() -> Iterator[Path]:
    with short_root() as folder:
        yield folder


@pytest.fixture
def place(tmp_path: Path, root: Path) -> Iterator[Path]:
    folder = tmp_path / "state"
    yield folder
    cluster = DetachedCluster.remembered(folder)
    if cluster is not None:
        cluster.stop()


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return stand_in(tmp_path)


def started(place: Path, root: Path, environ: dict[str, str]) -> DetachedCluster:
    cluster = DetachedCluster.start(place, root, SIZE, environ)
    address = cluster.wait_ready(60)
    assert (address.gcs, address.dashboard_url) == ("127.0.0.1:6379", "http://127.0.0.1:8265")
    return cluster


def warden(root: Path, cluster: DetachedCluster) -> int:
    return int((root / f"{cluster.folder.name}.lock").read_text())


def kill_server(place: Path, root: Path, environ: dict[str, str], *when: str) -> str:
    """A server starts a Ray and is killed at once, or when it is up; the Ray's id."""
    command = [sys.executable, "-c", SERVER, str(place), str(root), *when]
    server = subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    cluster_id = server.stdout.readline().strip()
    server.kill()
    server.communicate()
    return cluster_id


@pytest.mark.parametrize("when", [(), ("ready",)])
def test_it_survives_its_server_and_is_found_by_the_next(
    place: Path, root: Path, environ: dict[str, str], when: tuple[str, ...]
) -> None:
    cluster_id = kill_server(place, root, environ, *when)
    found = DetachedCluster.remembered(place)
    assert found is not None
    assert (found.cluster_id, found.is_alive) == (cluster_id, True)
    assert found.wait_ready(60).dashboard_url == "http://127.0.0.1:8265"
    # Whoever starts one now gets the one there is.
    assert DetachedCluster.start(place, root, SIZE, environ).cluster_id == cluster_id
    processes = family(warden(root, found))
    found.stop()
    assert left_after(processes, 0) == []
    assert list(root.iterdir()) == []
    assert [file.name for file in place.iterdir()] == ["start.lock"]
    found.stop()  # nothing more to do


def test_its_token_is_for_its_owner_alone(place: Path, root: Path, environ: dict[str, str]) -> None:
    cluster = started(place, root, environ)
    assert (place / "cluster.json").stat().st_mode & 0o777 == 0o600
    assert place.stat().st_mode & 0o777 == 0o700
    told = " ".join(psutil.Process(warden(root, cluster)).cmdline())
    assert cluster.token not in told


def test_it_is_nobodys_child(place: Path, root: Path, environ: dict[str, str]) -> None:
    cluster = started(place, root, environ)
    process = psutil.Process(warden(root, cluster))
    assert process.ppid() != os.getpid()
    assert os.getsid(process.pid) != os.getsid(0)


def test_asking_does_not_make_it_look_alive(
    place: Path, root: Path, environ: dict[str, str]
) -> None:
    cluster = started(place, root, environ)
    processes = family(warden(root, cluster))
    lock = cluster.folder.with_name(f"{cluster.folder.name}.lock").open()
    os.kill(warden(root, cluster), signal.SIGKILL)
    for process in processes[1:]:
        process.kill()
    assert left_after(processes, 10) == []
    fcntl.flock(lock, fcntl.LOCK_SH)  # somebody else is asking
    assert not cluster.is_alive
    lock.close()


@pytest.mark.parametrize("victim", ["warden", "daemon"])
def test_a_dead_one_is_replaced(
    place: Path, root: Path, environ: dict[str, str], victim: str
) -> None:
    dead = started(place, root, environ)
    processes = family(warden(root, dead))
    daemon = next(p.pid for p in processes if p.cmdline() == ["sleep", "601"])
    os.kill({"warden": warden(root, dead), "daemon": daemon}[victim], signal.SIGKILL)
    assert left_after(processes[:1], 20) == []
    assert not dead.is_alive
    if victim == "daemon":
        assert "Ray's raylet ended unexpectedly" in dead.errors()
    next_one = started(place, root, environ)
    assert next_one.cluster_id != dead.cluster_id
    assert next_one.is_alive
    assert left_after(processes, 10) == []
    assert [path.name for path in root.iterdir() if path.is_dir()] == [next_one.folder.name]


def test_a_run_on_the_same_machine_leaves_it_alone(
    place: Path, root: Path, environ: dict[str, str]
) -> None:
    cluster = started(place, root, environ)
    assert remove_stale(root) == []
    assert cluster.is_alive
    assert warden(root, cluster) > 0  # and its lock still tells who it is


def test_a_start_that_fails_says_why_and_leaves_nothing(
    place: Path, root: Path, environ: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "ray/_private/node.py").write_text("raise ImportError('Ray is torn')\n")
    cluster = DetachedCluster.start(place, root, SIZE, environ)
    with pytest.raises(LaunchFailed, match=r"ended while starting:[\s\S]*Ray is torn"):
        cluster.wait_ready(60)
    assert list(root.iterdir()) == []
    assert DetachedCluster.remembered(place) is None


def test_a_start_that_takes_too_long_is_ended(
    place: Path, root: Path, environ: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "ray/_private/node.py").write_text("import time; time.sleep(600)\n")
    cluster = DetachedCluster.start(place, root, SIZE, environ)
    with pytest.raises(LaunchFailed, match="did not come up in 1 s"):
        cluster.wait_ready(1)
    assert not cluster.is_alive
    assert list(root.iterdir()) == []


def test_it_is_ended_even_where_its_files_are_gone(
    place: Path, root: Path, environ: dict[str, str]
) -> None:
    cluster = started(place, root, environ)
    processes = family(warden(root, cluster))
    shutil.rmtree(root)  # by whoever keeps /tmp tidy
    cluster.stop()
    assert left_after(processes, 0) == []
    root.mkdir()


def test_nothing_is_remembered_where_nothing_was_started(tmp_path: Path) -> None:
    assert DetachedCluster.remembered(tmp_path / "nowhere") is None
    (tmp_path / "cluster.json").write_text("torn")
    assert DetachedCluster.remembered(tmp_path) is None


def test_an_operator_ends_what_servers_have_left(
    root: Path, tmp_path: Path, environ: dict[str, str]
) -> None:
    settings = load_settings(
        environ={
            "ORCHESTRATOR_STATE_DIR": str(tmp_path / "state"),
            "ORCHESTRATOR_RAY_TEMP_DIR": str(root),
        }
    )
    cluster = started(tmp_path / "state" / "backends" / "local", root, environ)
    assert end_local(settings) == ["local"]
    assert not cluster.is_alive
    assert end_local(settings) == []
