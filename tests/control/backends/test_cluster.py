from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from orchestrator.control.backends.cluster import (
    cluster_environment,
    prepare_root,
    remove_stale,
)
from orchestrator.control.backends.processes import CLUSTER_VARIABLE, end_cluster
from orchestrator.control.backends.warden import cluster_folder, ray_log_tails
from orchestrator.errors import SettingsError

NAME = "0123abcd"


@pytest.fixture
def root() -> Iterator[Path]:
    """Short: pytest's own temporary folders are too long for Ray's sockets."""
    with tempfile.TemporaryDirectory(prefix="orc", dir="/tmp") as folder:
        yield Path(folder)


@pytest.fixture
def processes() -> Iterator[list[psutil.Process]]:
    started: list[psutil.Process] = []
    yield started
    for process in started:
        if process.is_running():
            process.kill()


def sleeper(environ: dict[str, str], script: str = "pass") -> psutil.Process:
    code = f"import time; {script}; print(1, flush=True); time.sleep(300)"
    child = subprocess.Popen(
        [sys.executable, "-c", code], env={**os.environ, **environ}, stdout=subprocess.PIPE
    )
    assert child.stdout is not None
    child.stdout.readline()
    child.stdout.close()
    return psutil.Process(child.pid)


def is_gone(process: psutil.Process) -> bool:
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def test_the_environment_says_nothing_of_other_clusters() -> None:
    environ = {
        "HOME": "/h",
        "PATH": "/usr/bin",
        "AWS_ACCESS_KEY_ID": "key",
        "RAY_ADDRESS": "10.0.0.1:6379",
        "RAY_API_SERVER_ADDRESS": "http://10.0.0.1:8265",
        "RAY_JOB_CONFIG_JSON_ENV_VAR": "{}",
        "RAY_AUTH_MODE": "disabled",
        "RAY_AUTH_TOKEN": "theirs",
        "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "9",
        "RAY_worker_niceness": "5",
    }
    made = cluster_environment(environ, "id", "ours")
    assert made["HOME"] == "/h"
    assert made["AWS_ACCESS_KEY_ID"] == "key"
    assert made["PATH"] == f"{Path(sys.executable).parent}:/usr/bin"
    assert not {"RAY_ADDRESS", "RAY_API_SERVER_ADDRESS", "RAY_JOB_CONFIG_JSON_ENV_VAR"} & set(made)
    assert (made["RAY_AUTH_MODE"], made["RAY_AUTH_TOKEN"]) == ("token", "ours")
    assert made["RAY_USAGE_STATS_ENABLED"] == "0"
    assert made[CLUSTER_VARIABLE] == "id"
    # What the user tunes stays tuned.
    assert made["RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S"] == "9"
    assert made["RAY_worker_niceness"] == "5"


def test_a_folder_too_long_for_sockets_is_refused(tmp_path: Path) -> None:
    long = tmp_path / ("x" * 40)
    with pytest.raises(SettingsError, match=r"socket paths leave room for 30"):
        prepare_root(long)
    assert not long.exists()


def test_a_link_to_elsewhere_is_refused(root: Path) -> None:
    (root / "real").mkdir()
    (root / "link").symlink_to(root / "real")
    with pytest.raises(SettingsError, match=r"belongs to someone else"):
        prepare_root(root / "link")


def test_the_root_is_closed_to_others(root: Path) -> None:
    (root / "r").mkdir(mode=0o755)
    prepare_root(root / "r")
    assert (root / "r").stat().st_mode & 0o777 == 0o700


def test_every_process_of_a_cluster_is_found_by_environment_or_by_open_file(
    root: Path, processes: list[psutil.Process]
) -> None:
    folder = root / NAME
    folder.mkdir()
    log = folder / "agent.log"
    processes += [
        marked := sleeper({CLUSTER_VARIABLE: "mine"}),
        titled := sleeper({}, f"f = open({str(log)!r}, 'w')"),
        other := sleeper({CLUSTER_VARIABLE: "other"}),
    ]
    assert end_cluster("mine", folder, 5.0) == []
    assert is_gone(marked)
    assert is_gone(titled)
    assert not is_gone(other)


def test_a_dead_clusters_folder_and_processes_are_removed(
    root: Path, processes: list[psutil.Process]
) -> None:
    dead = root / NAME
    dead.mkdir()
    (root / f"{NAME}.lock").touch()
    processes.append(left := sleeper({}, f"f = open({str(dead / 'x')!r}, 'w')"))
    assert remove_stale(root) == [NAME]
    assert is_gone(left)
    assert list(root.iterdir()) == []


def test_a_live_cluster_and_foreign_files_stay(root: Path) -> None:
    (root / "notes").mkdir()
    (root / "README.md").touch()
    with cluster_folder(root, NAME) as folder:
        # In another process: a lock is shared by all that one process opens.
        code = f"from pathlib import Path; from orchestrator.control.backends.cluster import \
remove_stale; print(remove_stale(Path({str(root)!r})))"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert done.stdout == "[]\n", done.stderr
        assert folder.is_dir()
    assert sorted(path.name for path in root.iterdir()) == ["README.md", "notes"]


def test_a_clusters_folder_is_closed_to_others(root: Path) -> None:
    with cluster_folder(root, NAME) as folder:
        assert folder.stat().st_mode & 0o777 == 0o700


def test_last_words_are_complaints(root: Path) -> None:
    logs = root / "session_2026-01-01/logs"
    logs.mkdir(parents=True)
    (logs / "raylet.err").write_text(
        "[2026-11-23 C 1 1] (raylet) Check failed: port in use\n"
        "raylet(+0x27ba35) [0x5643332aba35] std::_Function_handler<>::_M_invoke()\n"
    )
    (logs / "dashboard.log").write_text("INFO web_log.py:229 -- GET /api/jobs\n")
    assert ray_log_tails(root) == (
        "--- raylet.err\n[2026-11-23 C 1 1] (raylet) Check failed: port in use"
    )
