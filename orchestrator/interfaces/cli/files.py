"""Files that appear whole or not at all. Called by the commands that write one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from orchestrator.errors import UserError


@contextmanager
def replacing(path: Path) -> Iterator[TextIO]:
    """A stream whose content stands at `path` when the block ends without an error.

    Until then the file that was there stays as it is.

    Raises:
        UserError: the folder does not exist, or may not be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        # Half a character (a lone surrogate) is written as JSON escapes it.
        stream = temporary.open("w", encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise _refused(path, error) from None
    try:
        with stream:
            yield stream
        try:
            temporary.replace(path)
        except OSError as error:
            raise _refused(path, error) from None
    finally:
        temporary.unlink(missing_ok=True)


def write_file(path: Path, text: str) -> None:
    with replacing(path) as stream:
        stream.write(text)


def _refused(path: Path, error: OSError) -> UserError:
    if isinstance(error, FileNotFoundError):
        return UserError(
            f"{path} cannot be written: there is no folder {path.parent}",
            hint=f"mkdir -p {path.parent}",
        )
    return UserError(f"{path} cannot be written: {error.strerror}")
