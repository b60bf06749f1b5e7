"""Leaving no process behind: who belongs to a cluster, and ending all of them.

Called by the warden of an embedded cluster, which adopts its orphans, and by the cluster's owner
for what is left when the warden itself was killed.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import time
from collections.abc import Iterable
from pathlib import Path

import psutil

CLUSTER_VARIABLE = "ORCHESTRATOR_CLUSTER_ID"
"""Inherited by every process of a cluster: says whose it is."""

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36  # <linux/prctl.h>
_POLL_SECONDS = 0.05


def adopt_orphans() -> None:
    """Makes this process the parent of every descendant whose own parent dies (Linux).

    So no descendant, whatever session or group it made for itself, is lost from sight.
    """
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def die_with_parent(parent: int) -> None:
    """Has the kernel kill this process when the thread that started it ends (Linux).

    Args:
        parent: Id of the process that started this one: it may be gone before the kernel is told.
    """
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def end_descendants(timeout_seconds: float) -> list[int]:
    """Kills every descendant of this process until none is left; returns those that stayed."""
    own = psutil.Process()
    deadline = time.monotonic() + timeout_seconds
    while True:
        reap_orphans()
        alive = _alive(own.children(recursive=True))
        if not alive or time.monotonic() > deadline:
            return [process.pid for process in alive]
        _kill(alive)
        time.sleep(_POLL_SECONDS)


def end_cluster(cluster_id: str, folder: Path, timeout_seconds: float) -> list[int]:
    """Kills every process of a cluster, wherever it hangs in the tree; returns those that stayed.

    A process belongs to the cluster when it carries the cluster's id in its environment, or has
    one of its files open: Ray's agents overwrite their environment with their title.

    Args:
        cluster_id: Its id, or as much of it as the folder's name tells.
        folder: Where its files are.
        timeout_seconds: How long they may take to die.
    """
    deadline = time.monotonic() + timeout_seconds
    while True:
        members = _alive(cluster_members(cluster_id, folder))
        if not members or time.monotonic() > deadline:
            return [process.pid for process in members]
        _kill(members)
        time.sleep(_POLL_SECONDS)


def cluster_members(cluster_id: str, folder: Path) -> list[psutil.Process]:
    """Every process of a cluster but this one."""
    own, user = os.getpid(), os.getuid()
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.pid == own or process.uids().real != user:
                continue
            whose = process.environ().get(CLUSTER_VARIABLE, "")
            if whose.startswith(cluster_id) or _has_open(process, folder):
                found.append(process)
    return found


def reap_orphans(known: int | None = None) -> int | None:
    """Collects adopted children that have ended; returns the exit code of `known` if it has."""
    code = None
    with contextlib.suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            if ended[0] == known:
                code = os.waitstatus_to_exitcode(ended[1])
    return code


def _has_open(process: psutil.Process, folder: Path) -> bool:
    inside = f"{folder}/"
    return any(file.path.startswith(inside) for file in process.open_files())


def _alive(processes: Iterable[psutil.Process]) -> list[psutil.Process]:
    alive = []
    for process in processes:
        with contextlib.suppress(psutil.Error):
            if process.status() != psutil.STATUS_ZOMBIE:
                alive.append(process)
    return alive


def _kill(processes: Iterable[psutil.Process]) -> None:
    for process in processes:
        with contextlib.suppress(psutil.Error):
            process.kill()


def _prctl(option: int, value: int) -> None:
    if not sys.platform.startswith("linux"):
        return
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, value, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
