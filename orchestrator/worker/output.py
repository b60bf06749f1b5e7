"""Where a rank's output goes; that of user code through a filter, on its way to the same file.

`training.failures` opens the filter before any user code runs; the Reporter asks for the file.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from orchestrator.specs import RuntimeSpec
from orchestrator.specs.runtime import secret_variable
from orchestrator.worker import output_filter

STDOUT, STDERR = 1, 2
END_SECONDS = (
    10.0  # for the filter to write what it still has; a child may hold the pipe for longer
)

_file: Path | None = None  # of this process, while a filter stands before it


def output_file() -> Path | None:
    """The file this process's output ends in, where it is one: Ray gives each worker its own."""
    if _file is not None:
        return _file
    try:
        path = Path(f"/proc/self/fd/{STDERR}").resolve()
    except OSError:
        return None
    return path if path.is_file() else None


@contextmanager
def filtered_output(runtime: RuntimeSpec) -> Iterator[None]:
    """Within it, what this process and its children print is filtered, where users brought code."""
    if not runtime.is_used:
        yield
        return
    global _file
    _flush()
    _file = output_file()
    before = os.dup(STDOUT), os.dup(STDERR)
    reader, writer = os.pipe()
    variables = map(secret_variable, runtime.secrets)
    filtering = subprocess.Popen(
        [sys.executable, "-I", "-S", str(Path(output_filter.__file__)), *variables],
        stdin=reader,
        stdout=before[1],
        stderr=subprocess.DEVNULL,
    )
    os.close(reader)
    _direct((writer, writer))
    os.close(writer)
    try:
        yield
    finally:
        _flush()
        _direct(before)
        for descriptor in before:
            os.close(descriptor)
        _file = None
        _await(filtering)


def _direct(descriptors: tuple[int, int]) -> None:
    for descriptor, place in zip(descriptors, (STDOUT, STDERR), strict=True):
        os.dup2(descriptor, place)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        stream.flush()


def _await(filtering: subprocess.Popen[bytes]) -> None:
    try:
        filtering.wait(END_SECONDS)
    except subprocess.TimeoutExpired:
        return
