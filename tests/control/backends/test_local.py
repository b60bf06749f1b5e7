"""The embedded Ray for real: private, and gone without a trace whoever is killed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from orchestrator.control.backends.base import AttemptHandle, AttemptStatus, LaunchRequest
from orchestrator.control.backends.cluster import EmbeddedCluster
from orchestrator.control.backends.local import LocalBackend
from orchestrator.errors import SettingsError
from tests.embedded import family, left_after, short_root

CALLER = """
import sys, time
from pathlib import Path
from orchestrator.control.backends.base import LaunchRequest
from orchestrator.control.backends.local import LocalBackend

# The driver leaves a child in a session of its own, as a data loader or a compiler might.
command = ("sh", "-c", "setsid sleep 600 & echo $! > $MARK; wait")
backend = LocalBackend(Path(sys.argv[1]), command=lambda path: command)
backend.launch(LaunchRequest("job-x", 1, "unused", environment={"MARK": sys.argv[2]}))
while not Path(sys.argv[2]).exists():
    time.sleep(0.1)
print(backend.cluster.warden_pid, flush=True)
time.sleep(600)
"""


@pytest.fixture
def root() -> Iterator[Path]:
    with short_root() as folder:
        yield folder


@pytest.mark.cluster
def test_a_run_that_is_killed_leaves_nothing(root: Path, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    caller = subprocess.Popen(
        [sys.executable, "-c", CALLER, str(root), str(mark)], stdout=subprocess.PIPE, text=True
    )
    assert caller.stdout is not None
    try:
        processes = family(int(caller.stdout.readline()))
        assert int(mark.read_text()) in [process.pid for process in processes]
        assert "raylet" in [process.name() for process in processes]
    finally:
        caller.kill()
        caller.communicate()
    assert left_after(processes, 20) == []
    assert list(root.iterdir()) == []


def ready_cluster(backend: LocalBackend, folder: Path) -> EmbeddedCluster:
    """The suite's cluster, started by whichever test needs it first."""
    (folder / "nothing.py").write_text("")
    backend.launch(LaunchRequest("job-private", 1, str(folder / "nothing.py")))
    assert backend.cluster is not None
    return backend.cluster


@pytest.mark.cluster
def test_the_cluster_is_private(local_backend: LocalBackend, tmp_path: Path) -> None:
    cluster = ready_cluster(local_backend, tmp_path)
    # 1. Every port it listens on is on loopback.
    listening = {
        connection.laddr.ip
        for process in family(cluster.warden_pid)
        for connection in process.net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN
    }
    assert listening <= {"127.0.0.1", "::ffff:127.0.0.1", "::1"}
    # 2. Without its token nobody gets in.
    assert cluster.address is not None
    jobs = f"{cluster.address.dashboard_url}/api/jobs/"
    token = {"Authorization": f"Bearer {cluster.token}"}
    with httpx.Client(trust_env=False) as client:
        assert client.get(jobs).status_code in (401, 403)
        assert client.get(jobs, headers={"Authorization": "Bearer x"}).status_code in (401, 403)
        assert client.get(jobs, headers=token).status_code == 200
    # 3. Its folder is out of reach of others, although Ray opens what lies in it to everybody.
    assert cluster.folder.parent.stat().st_mode & 0o777 == 0o700


def test_a_root_that_is_too_long_starts_nothing(tmp_path: Path) -> None:
    backend = LocalBackend(tmp_path / ("x" * 40))
    with pytest.raises(SettingsError):
        backend.launch(LaunchRequest("job-x", 1, "unused"))
    backend.close()


def test_observing_without_a_cluster_is_no_failure(root: Path) -> None:
    backend = LocalBackend(root)
    assert backend.observe(AttemptHandle("job-x", 1)).status is AttemptStatus.ABSENT
    assert backend.log_tail(AttemptHandle("job-x", 1), 5) == ""
    backend.stop(AttemptHandle("job-x", 1))
    backend.close()
