"""The embedded Ray of a server: of the whole machine, alive without the server, found by the next.

Called by `local_served`. A folder of the operator's `state_dir` remembers it:

    cluster.json     whose it is, its token: readable by this user alone
    <name>.ready     its starter's one line, once it is up
    <name>.errors    what its starter complains of
    start.lock       one process at a time starts or stops it

Its warden holds a lock beside Ray's own folder for as long as it lives. The lock is taken before
anything is remembered, by whoever starts the warden, and handed over: so at no moment can a Ray be
alive and look dead, and be started twice.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from orchestrator.control.backends.cluster import (
    KILL_SECONDS,
    STOP_SECONDS,
    ClusterAddress,
    ClusterSize,
    cluster_environment,
    folder_name,
    last_words,
    prepare_root,
    ready_address,
    remedy,
    remove_folder,
    remove_stale,
    warden_command,
)
from orchestrator.control.backends.processes import end_cluster
from orchestrator.errors import LaunchFailed

STATE = "cluster.json"
_POLL_SECONDS = 0.2
_MAX_ERRORS_BYTES = 64_000


class DetachedCluster:
    """One cluster, whoever started it. Nothing in here is lost with this process."""

    def __init__(self, place: Path, state: Mapping[str, Any]) -> None:
        self.cluster_id = str(state["cluster_id"])
        self.token = str(state["token"])
        name = folder_name(self.cluster_id)
        self.folder = Path(state["root"]) / name
        self._lock = self.folder.with_name(f"{name}.lock")
        self._place = place
        self._ready, self._errors = place / f"{name}.ready", place / f"{name}.errors"

    @classmethod
    def remembered(cls, place: Path) -> DetachedCluster | None:
        """The one that was started last, dead or alive."""
        try:
            return cls(place, json.loads((place / STATE).read_text()))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    @classmethod
    def start(
        cls,
        place: Path,
        root: Path,
        size: ClusterSize,
        environ: Mapping[str, str] | None = None,
    ) -> DetachedCluster:
        """Begins to start a cluster and returns at once; the one that lives, if there is one.

        Args:
            place: The folder that remembers it; made if absent.
            root: Folder of all embedded clusters of this user; made if absent.
            size: What the cluster offers.
            environ: What its processes inherit; this process's own unless given.
        """
        place.mkdir(parents=True, exist_ok=True, mode=0o700)
        with _alone(place):
            found = cls.remembered(place)
            if found is not None and found.is_alive:
                return found
            if found is not None:
                found._end()
            prepare_root(root)
            remove_stale(root)
            _forget(place)
            return cls._start(place, root, size, os.environ if environ is None else environ)

    @classmethod
    def _start(
        cls, place: Path, root: Path, size: ClusterSize, environ: Mapping[str, str]
    ) -> DetachedCluster:
        cluster_id, token = secrets.token_hex(16), secrets.token_urlsafe(32)
        state = {"format": 1, "cluster_id": cluster_id, "token": token, "root": str(root)}
        made = cls(place, state)
        lock = os.open(made._lock, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            _write_private(place / STATE, json.dumps(state))
            with made._ready.open("wb") as ready, made._errors.open("wb") as errors:
                subprocess.run(
                    warden_command(root, cluster_id, size, "--lock", str(lock)),
                    stdin=subprocess.DEVNULL,
                    stdout=ready,
                    stderr=errors,
                    env=cluster_environment(environ, cluster_id, token),
                    start_new_session=True,
                    pass_fds=[lock],
                    cwd="/",
                    check=False,  # the warden goes on alone: whether it lives, the lock tells
                )
        finally:
            os.close(lock)
        return made

    @property
    def is_alive(self) -> bool:
        """Whether its warden holds the lock."""
        try:
            lock = os.open(self._lock, os.O_RDONLY)
        except FileNotFoundError:
            return False
        try:
            # Shared, so that those who ask at the same time do not take each other for the warden.
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(lock)
        return False

    @property
    def address(self) -> ClusterAddress | None:
        """Where it is reached; None while it is coming up."""
        with contextlib.suppress(OSError):
            line = self._ready.read_bytes()
            if line.endswith(b"\n"):
                return ready_address(line)
        return None

    def wait_ready(
        self,
        timeout_seconds: float,
        cancelled: Callable[[], bool] = lambda: False,
        sleep: Callable[[float], None] = time.sleep,
    ) -> ClusterAddress:
        """Blocks until Ray is up. Raises LaunchFailed if it does not come up or is `cancelled`."""
        deadline = time.monotonic() + timeout_seconds
        while time.monotonic() < deadline:
            address = self.address
            if address is not None and self.is_alive:
                return address
            if not self.is_alive:
                break
            if cancelled():
                raise LaunchFailed("the start of Ray was interrupted")
            sleep(_POLL_SECONDS)
        alive = self.is_alive
        what = f"did not come up in {timeout_seconds:.0f} s" if alive else "ended while starting"
        told = last_words(self.errors())
        self.stop()
        raise LaunchFailed(f"the embedded Ray {what}{told}", hint=remedy())

    def stop(self) -> None:
        """Ends every process of the cluster and forgets it; may be called twice."""
        if not self._place.is_dir():
            return
        with _alone(self._place):
            deadline = time.monotonic() + STOP_SECONDS
            while self.is_alive and time.monotonic() < deadline:
                self._ask_to_end()
                time.sleep(_POLL_SECONDS)
            self._end()
            newest = self.remembered(self._place)
            if newest is None or newest.cluster_id == self.cluster_id:
                _forget(self._place)

    def errors(self) -> str:
        """What the cluster's starter has written so far."""
        with contextlib.suppress(OSError):
            return self._errors.read_bytes()[-_MAX_ERRORS_BYTES:].decode(errors="replace").strip()
        return ""

    def _end(self) -> None:
        """Ends what a warden did not, whether it was killed or lost its lock's file."""
        end_cluster(self.cluster_id, self.folder, KILL_SECONDS)
        remove_folder(self.folder)

    def _ask_to_end(self) -> None:
        with contextlib.suppress(OSError, ValueError):  # it is just being started, or just gone
            os.kill(int(self._lock.read_text()), signal.SIGTERM)


@contextlib.contextmanager
def _alone(place: Path) -> Iterator[None]:
    with (place / "start.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _forget(place: Path) -> None:
    (place / STATE).unlink(missing_ok=True)
    for pattern in ("*.ready", "*.errors"):
        for file in place.glob(pattern):
            file.unlink(missing_ok=True)


def _write_private(file: Path, text: str) -> None:
    part = file.with_name(f".{file.name}.{secrets.token_hex(4)}")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    part.rename(file)
