from __future__ import annotations

import os
from pathlib import Path

import pytest

from orchestrator.control.controller.locks import hold
from orchestrator.control.controller.scratch import log_folder, run_scratch
from orchestrator.errors import SettingsError


def test_a_scratch_folder_is_new_private_and_goes_with_the_run(tmp_path: Path) -> None:
    folder, locks = tmp_path / "scratch", tmp_path / "locks"
    (folder / "k").mkdir(parents=True)
    (folder / "k/old").touch()
    with hold(locks, "k"), run_scratch(folder, locks, "k") as own:
        assert list(own.iterdir()) == []
        assert own.stat().st_mode & 0o777 == 0o700
        (own / "shard").touch()
    assert list(folder.iterdir()) == []


def test_what_dead_runs_left_is_removed_and_live_ones_keep_theirs(tmp_path: Path) -> None:
    folder, locks = tmp_path / "scratch", tmp_path / "locks"
    for name in ("dead", "live"):
        (folder / name).mkdir(parents=True)
    with hold(locks, "live"), hold(locks, "k"), run_scratch(folder, locks, "k"):
        assert sorted(path.name for path in folder.iterdir()) == ["k", "live"]
    assert list(locks.iterdir()) == []


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "scratch").touch()
    with (
        hold(tmp_path / "locks", "k"),
        pytest.raises(SettingsError, match="cannot be made"),
        run_scratch(tmp_path / "scratch/x", tmp_path / "locks", "k"),
    ):
        pass


def test_only_the_newest_logs_are_kept(tmp_path: Path) -> None:
    for number in range(25):
        folder = log_folder(tmp_path / "logs", f"job-a{number}")
        folder.mkdir()
        os.utime(folder, (number, number))
    names = {path.name for path in (tmp_path / "logs").iterdir()}
    assert names == {f"job-a{number}" for number in range(5, 25)}
