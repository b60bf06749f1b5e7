"""A run's folder on this host for what may be lost: staged checkpoints, exports, the launch file.

It goes with the run. What a killed run left is removed by the next one, whichever it is: a folder
whose run is not locked is nobody's.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from orchestrator.control.controller.locks import try_lock
from orchestrator.errors import SettingsError

KEPT_LOGS = 20


@contextmanager
def run_scratch(folder: Path, locks: Path, key: str) -> Iterator[Path]:
    """An empty folder of the run `key`, whose lock the caller holds."""
    own = folder / key
    _remove_dead(folder, locks, keep=key)
    shutil.rmtree(own, ignore_errors=True)
    try:
        own.mkdir(parents=True, mode=0o700)
    except OSError as error:
        raise SettingsError(
            f"state_dir: {own} cannot be made: {error.strerror}",
            hint="free some space, or set ORCHESTRATOR_STATE_DIR to a folder you can write",
        ) from None
    try:
        yield own
    finally:
        shutil.rmtree(own, ignore_errors=True)


def log_folder(logs: Path, name: str) -> Path:
    """A folder for the logs of an Attempt; the oldest ones give way."""
    logs.mkdir(parents=True, exist_ok=True, mode=0o700)
    by_age = sorted(logs.iterdir(), key=lambda folder: folder.stat().st_mtime, reverse=True)
    for old in by_age[KEPT_LOGS - 1 :]:
        shutil.rmtree(old, ignore_errors=True)
    return logs / name


def _remove_dead(folder: Path, locks: Path, keep: str) -> None:
    if not folder.is_dir():
        return
    for other in folder.iterdir():
        lock = try_lock(locks, other.name) if other.name != keep else None
        if lock is not None:
            shutil.rmtree(other, ignore_errors=True)
            lock.release()
