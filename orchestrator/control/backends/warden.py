"""The process between an embedded Ray and its owner: whatever dies, nothing is left behind.

Started by `cluster` and `detached` as `python -m orchestrator.control.backends.warden` in a
session of its own, so that a terminal's Ctrl-C does not reach Ray. It adopts every orphan of the
cluster and ends when

- it gets SIGTERM (the run, or the server's last job, is over),
- Ray ends by itself,
- its stdin ends or its parent is gone (the run was killed, however hard); not when it is detached:
  a server's Ray outlives the server, and the lock it holds tells the next one that it lives.

Then it kills every descendant and removes the cluster's folder. If the warden itself is killed, the
kernel kills Ray's starter and Ray's own daemons with it.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import os
import re
import selectors
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

from orchestrator.control.backends.processes import adopt_orphans, end_descendants, reap_orphans

KILL_SECONDS = 10.0
POLL_SECONDS = 0.25
TAIL_BYTES = 64_000
TAIL_LINES = 5
MAX_LINE = 400
_COMPLAINT = re.compile(r"(?i)\b(E|C|F|error|exception|fail(ed|ure)?|cannot|no space)\b")


def main() -> int:
    arguments, ray_arguments = _arguments()
    if arguments.parent is None and os.fork() > 0:
        return 0  # detached: nobody's child, so that nobody has to wait for it
    stopping = _stop_flag()
    adopt_orphans()
    root, name = Path(arguments.root), arguments.name
    with cluster_folder(root, name, arguments.lock) as folder:
        ray = _start_ray(folder, ray_arguments)
        code = _stay(ray, arguments.parent, stopping)
        if code is not None:
            print(f"Ray's starter ended with {code}", file=sys.stderr)
            print(ray_log_tails(folder), file=sys.stderr, flush=True)
        # No orderly end: Ray would wait for its workers, and nothing of it is worth keeping.
        left = end_descendants(KILL_SECONDS)
    if left:
        print(f"could not end {left}", file=sys.stderr)
    return 0 if code is None and not left else 1


@contextlib.contextmanager
def cluster_folder(root: Path, name: str, held: int | None = None) -> Iterator[Path]:
    """The folder of one cluster, with a lock beside it that says its warden lives, and its id.

    The lock is taken before the folder exists, so a folder whose lock is free is a dead cluster's.

    Args:
        root: Folder of all clusters.
        name: Of this one.
        held: Descriptor of the lock where whoever started this process has taken it already.
    """
    lock_file = root / f"{name}.lock"
    descriptor = os.open(lock_file, os.O_RDWR | os.O_CREAT, 0o600) if held is None else held
    with os.fdopen(descriptor, "r+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        lock.write(str(os.getpid()))
        lock.flush()
        folder = root / name
        folder.mkdir(mode=0o700)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            lock_file.unlink(missing_ok=True)


def ray_log_tails(folder: Path) -> str:
    """What Ray's daemons complained of last: the only trace once the folder is gone."""
    tails = []
    for pattern in ("gcs_server.err", "raylet.err", "dashboard.err", "dashboard.log"):
        for file in folder.glob(f"session_2*/logs/{pattern}"):
            text = file.read_bytes()[-TAIL_BYTES:].decode(errors="replace")
            told = [line[:MAX_LINE] for line in text.splitlines() if _COMPLAINT.search(line)]
            if told:
                tails.append("\n".join([f"--- {file.name}", *told[-TAIL_LINES:]]))
    return "\n".join(tails)


def _start_ray(folder: Path, ray_arguments: list[str]) -> subprocess.Popen[bytes]:
    """Ray's starter; its one line goes to our stdout, which the run reads."""
    module = "orchestrator.control.backends.embedded_ray"
    where = ["--parent", str(os.getpid()), "--temp-dir", str(folder)]
    return subprocess.Popen(
        [sys.executable, "-m", module, *where, *ray_arguments], stdin=subprocess.DEVNULL
    )


def _stay(ray: subprocess.Popen[bytes], parent: int | None, stopping: list[bool]) -> int | None:
    """Until there is a reason to end; the exit code of Ray's starter if that is the reason."""
    with selectors.DefaultSelector() as selector:
        if parent is not None:
            selector.register(sys.stdin.fileno(), selectors.EVENT_READ)
        while not stopping and (parent is None or os.getppid() == parent):
            if (code := reap_orphans(ray.pid)) is not None:
                ray.returncode = code
                return code
            if selector.select(POLL_SECONDS) and not os.read(sys.stdin.fileno(), 1024):
                break
    return None


def _stop_flag() -> list[bool]:
    """Grows when a signal asks to end."""
    stopping: list[bool] = []

    def end(number: int, frame: FrameType | None) -> None:
        stopping.append(True)

    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, end)
    return stopping


def _arguments() -> tuple[argparse.Namespace, list[str]]:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--parent", type=int, help="absent: detached")
    parser.add_argument("--lock", type=int, help="descriptor of the cluster's lock, taken already")
    parser.add_argument("--root", required=True)
    parser.add_argument("--name", required=True)
    return parser.parse_known_args()


if __name__ == "__main__":
    sys.exit(main())
