from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.control.controller.locks import hold, lock_key, try_lock
from orchestrator.errors import AlreadyRunning, SettingsError
from tests.control.builders import JOB

HOLDER = """
import sys, time
from pathlib import Path
from orchestrator.control.controller.locks import hold
with hold(Path(sys.argv[1]), "k") as lock:
    lock.tell(sys.argv[2])
    print("held", flush=True)
    time.sleep(300)
"""


def holder(folder: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder), JOB], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_live_run_is_refused_and_a_killed_one_is_not(tmp_path: Path) -> None:
    other = holder(tmp_path)
    try:
        with pytest.raises(AlreadyRunning) as caught, hold(tmp_path, "k"):
            pass
        assert caught.value.message == (f"this run is live already ({JOB}, process {other.pid})")
        assert caught.value.hint == f"wait for it, or stop it: kill -INT {other.pid}"
        with hold(tmp_path, "another"):
            pass
    finally:
        other.kill()
        other.communicate()
    with hold(tmp_path, "k"):
        pass


def test_a_lock_leaves_no_file_behind(tmp_path: Path) -> None:
    with hold(tmp_path / "locks", "k") as lock:
        lock.tell(JOB)
    assert list((tmp_path / "locks").iterdir()) == []


def test_a_lock_is_ones_own_within_a_process_too(tmp_path: Path) -> None:
    with hold(tmp_path, "k"):
        assert try_lock(tmp_path, "k") is None


def test_a_holder_that_has_not_told_its_name_yet(tmp_path: Path) -> None:
    with (
        hold(tmp_path, "k"),
        pytest.raises(AlreadyRunning, match=r"live already \(another process\)"),
        hold(tmp_path, "k"),
    ):
        pass


def test_the_same_training_into_another_store_is_another_run() -> None:
    assert lock_key("/models", "ab") != lock_key("/other", "ab")
    assert lock_key("/models", "ab") == lock_key("/models", "ab")


def test_a_state_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "x").touch()
    with pytest.raises(SettingsError, match="state_dir"), hold(tmp_path / "x", "k"):
        pass
