"""Who starts, watches and ends a cluster, over a stand-in for Ray that starts in no time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from orchestrator.control.backends.cluster import ClusterSize, EmbeddedCluster
from orchestrator.control.backends.processes import CLUSTER_VARIABLE
from orchestrator.errors import LaunchFailed
from tests.control.backends.standin import stand_in
from tests.embedded import family, left_after, short_root

CALLER = """
import os, sys, time
from pathlib import Path
from orchestrator.control.backends.cluster import ClusterSize, EmbeddedCluster
cluster = EmbeddedCluster.spawn(Path(sys.argv[1]), ClusterSize(1))
cluster.wait_ready(60)
print(cluster.warden_pid, flush=True)
while cluster.is_alive:
    time.sleep(0.05)
print(cluster.errors().partition("\\\\n")[0], flush=True)
cluster.stop()
"""


@pytest.fixture
def root() -> Iterator[Path]:
    with short_root() as folder:
        yield folder


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return stand_in(tmp_path)


def started(root: Path, environ: dict[str, str]) -> EmbeddedCluster:
    cluster = EmbeddedCluster.spawn(root, ClusterSize(2), environ)
    address = cluster.wait_ready(60)
    assert (address.gcs, address.dashboard_url) == ("127.0.0.1:6379", "http://127.0.0.1:8265")
    return cluster


def with_sleeps(cluster: EmbeddedCluster, expected: list[str]) -> list[psutil.Process]:
    """The cluster's processes, once these are among them: a shell's children take a moment."""
    for _ in range(100):
        processes = family(cluster.warden_pid)
        found = sorted(p.cmdline()[1] for p in processes if p.name() == "sleep")
        if found == expected:
            return processes
        time.sleep(0.05)
    raise AssertionError(found)


def test_stopping_ends_daemons_and_orphans(root: Path, environ: dict[str, str]) -> None:
    cluster = started(root, environ)
    processes = with_sleeps(cluster, ["601", "602", "603"])  # the orphans were adopted
    assert {process.environ()[CLUSTER_VARIABLE] for process in processes} == {cluster.cluster_id}
    assert (cluster.folder / "ray_current_cluster").read_text() == "127.0.0.1:6379"
    cluster.stop()
    assert left_after(processes, 0) == []
    assert list(root.iterdir()) == []
    cluster.stop()  # nothing more to do


@pytest.fixture
def caller(root: Path, environ: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", CALLER, str(root)]
    process = subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, text=True)
    yield process
    process.kill()
    process.communicate()


@pytest.mark.parametrize("victim", ["caller", "warden", "starter", "daemon"])
def test_whoever_is_killed_nothing_stays(
    root: Path, caller: subprocess.Popen[str], victim: str
) -> None:
    assert caller.stdout is not None
    processes = family(int(caller.stdout.readline()))
    pid = {
        "caller": caller.pid,
        "warden": processes[0].pid,
        "starter": next(p.pid for p in processes if "embedded_ray" in " ".join(p.cmdline())),
        "daemon": next(p.pid for p in processes if p.cmdline() == ["sleep", "601"]),
    }[victim]
    os.kill(pid, signal.SIGKILL)
    told = caller.communicate(timeout=60)[0].strip()
    assert left_after(processes, 20) == []
    assert list(root.iterdir()) == []
    words = {
        "starter": "Ray's starter ended with -9",
        "daemon": "Ray's raylet ended unexpectedly",
    }
    assert words.get(victim, "") in told


def test_everybody_killed_at_once_is_cleared_by_the_next_start(
    root: Path, environ: dict[str, str]
) -> None:
    dead = started(root, environ)
    processes = family(dead.warden_pid)
    # Only the orphans are spared, as by whoever kills what bears our name.
    for process in processes:
        if "sleep" not in process.name():
            process.kill()
    os.waitpid(dead.warden_pid, 0)
    next_one = started(root, environ)
    assert [path.name for path in root.iterdir() if path.is_dir()] == [next_one.folder.name]
    assert left_after(processes, 0) == []
    next_one.stop()


def test_a_terminals_ctrl_c_does_not_reach_the_cluster(root: Path, environ: dict[str, str]) -> None:
    cluster = started(root, environ)
    assert os.getsid(cluster.warden_pid) != os.getsid(0)
    cluster.stop()


def test_a_start_that_fails_says_why_and_leaves_nothing(
    root: Path, environ: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "ray/_private/node.py").write_text("raise ImportError('Ray is torn')\n")
    cluster = EmbeddedCluster.spawn(root, ClusterSize(1), environ)
    with pytest.raises(LaunchFailed, match=r"ended while starting:[\s\S]*Ray is torn"):
        cluster.wait_ready(60)
    assert list(root.iterdir()) == []


def test_a_start_that_takes_too_long_is_ended(
    root: Path, environ: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "ray/_private/node.py").write_text("import time; time.sleep(600)\n")
    cluster = EmbeddedCluster.spawn(root, ClusterSize(1), environ)
    processes = family(cluster.warden_pid)
    with pytest.raises(LaunchFailed, match="did not come up in 1 s"):
        cluster.wait_ready(1)
    assert left_after(processes, 5) == []
    assert list(root.iterdir()) == []


def test_a_start_can_be_interrupted(root: Path, environ: dict[str, str]) -> None:
    cluster = EmbeddedCluster.spawn(root, ClusterSize(1), environ)
    began = time.monotonic()
    with pytest.raises(LaunchFailed, match="interrupted"):
        cluster.wait_ready(60, lambda: True)
    assert time.monotonic() - began < 10
    cluster.stop()
    assert list(root.iterdir()) == []
