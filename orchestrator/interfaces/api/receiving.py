"""Bodies that become files: written beside the server's state while they arrive, and gone after.

Called by `routes.uploads`; `server` sweeps what a server that was killed left behind.
"""

from __future__ import annotations

import fcntl
import hashlib
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from orchestrator.control.controller.uploads import wrong_digest
from orchestrator.storage.transfers import local_errors

PREFIX = "receiving-"
YOUNG_SECONDS = 60.0  # made, and not locked yet, perhaps


@asynccontextmanager
async def received(request: Request, sha256: str, folder: Path) -> AsyncIterator[Path]:
    """The body as a file, its digest checked; gone after the block."""
    digest = hashlib.sha256()
    with local_errors(folder):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        stream = tempfile.NamedTemporaryFile(dir=folder, prefix=PREFIX)  # noqa: SIM115
    with stream:
        # Until this process ends, however it does.
        fcntl.flock(stream.fileno(), fcntl.LOCK_EX)
        async for chunk in request.stream():
            digest.update(chunk)
            with local_errors(folder):
                await run_in_threadpool(stream.write, chunk)
        with local_errors(folder):
            stream.flush()
        if digest.hexdigest() != sha256:
            raise wrong_digest(sha256)
        yield Path(stream.name)


def sweep(folder: Path) -> None:
    """Removes what servers that were killed were receiving; other live ones keep theirs."""
    for file in folder.glob(f"{PREFIX}*"):
        with suppress(OSError), file.open("rb") as stream:
            fcntl.flock(stream.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
            if file.stat().st_mtime < time.time() - YOUNG_SECONDS:
                file.unlink()
