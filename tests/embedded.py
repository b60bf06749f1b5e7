"""One embedded Ray for the whole suite: starting one takes many seconds."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from orchestrator.control.backends.local import LocalBackend


@contextmanager
def short_root() -> Iterator[Path]:
    """A folder whose name leaves room for Ray's sockets, unlike pytest's own."""
    with tempfile.TemporaryDirectory(prefix="orc", dir="/tmp") as folder:
        yield Path(folder)


@contextmanager
def embedded_backend() -> Iterator[LocalBackend]:
    """A backend whose launch files are Python scripts. Its Ray starts with the first launch."""
    with (
        short_root() as root,
        LocalBackend(root, command=lambda path: (sys.executable, path)) as backend,
    ):
        yield backend


def family(pid: int) -> list[psutil.Process]:
    """A process and all its descendants."""
    parent = psutil.Process(pid)
    return [parent, *parent.children(recursive=True)]


def left_after(processes: list[psutil.Process], seconds: float) -> list[psutil.Process]:
    """Those that still live when all are gone or `seconds` have passed."""
    deadline = time.monotonic() + seconds
    while True:
        left = [p for p in processes if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]
        if not left or time.monotonic() > deadline:
            return left
        time.sleep(0.1)
