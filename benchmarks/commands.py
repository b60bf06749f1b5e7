"""The command line against a server, and when each word of it came. Used by `latency`."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


def _environment(url: str) -> dict[str, str]:
    return {**os.environ, "ORCHESTRATOR_URL": url, "TERM": "xterm"}


def _command(*words: str) -> list[str]:
    return [sys.executable, "-m", "orchestrator.interfaces.cli.main", *words]


def run(url: str, *words: str) -> str:
    done = subprocess.run(_command(*words), env=_environment(url), capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(done.stdout + done.stderr)
    return done.stdout


@contextmanager
def following(url: str, *words: str) -> Iterator[list[tuple[float, str]]]:
    """The lines that a command prints, each with the time at which it came."""
    process = subprocess.Popen(
        _command(*words), env=_environment(url), stdout=subprocess.PIPE, text=True
    )
    found: list[tuple[float, str]] = []

    def listen() -> None:
        assert process.stdout is not None
        for line in process.stdout:
            found.append((time.time(), line))

    threading.Thread(target=listen, daemon=True).start()
    try:
        yield found
    finally:
        process.terminate()
        process.wait(30)


@contextmanager
def screen_of(url: str, *words: str) -> Iterator[list[tuple[float, str]]]:
    """What a command draws on a terminal, each piece with the time at which it came."""
    ours, theirs = pty.openpty()
    environment = {**_environment(url), "COLUMNS": "120", "LINES": "40"}
    process = subprocess.Popen(
        _command(*words), env=environment, stdin=theirs, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    found: list[tuple[float, str]] = []

    def listen() -> None:
        while True:
            try:
                piece = os.read(ours, 65536).decode(errors="replace")
            except OSError:
                return
            found.append((time.time(), re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", piece)))

    threading.Thread(target=listen, daemon=True).start()
    try:
        yield found
    finally:
        process.terminate()
        process.wait(30)


def until(ask: Callable[[], Any], seconds: float = 60.0) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := ask()):
        assert time.monotonic() < deadline, "it did not come in time"
        time.sleep(0.01)
    return found
