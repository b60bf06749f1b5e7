"""DeepSpeed's compiled ops: where they live, which are missing, building them before a job does.

DeepSpeed compiles an op at its first use, minutes into nothing a user sees, and a process killed
while it compiles or loads one leaves a `lock` that blocks every later one for good. So `make
install` builds them here (`python -m orchestrator.worker.training.ops`), and every rank calls
`prepare` before it imports DeepSpeed.

CPUAdam is built only by name: optimizer states are torch's AdamW's, offloaded or not.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

import psutil

from orchestrator.errors import OrchestratorError

BUILDERS = {  # DeepSpeed's name of an op -> the builder it is made by
    "deepspeed_shm_comm": "ShareMemCommBuilder",  # collectives of ranks on one node
    "cpu_adam": "CPUAdamBuilder",
}
BUILT = ".built"  # written after an op was loaded; a .so alone may be half linked


class OpBuildFailed(OrchestratorError):
    """The compiler or the loader refused an op."""


def needed_ops(*, cuda: bool) -> list[str]:
    """The ops a training on this machine loads whatever its spec says."""
    return [] if cuda or sys.platform != "linux" else ["deepspeed_shm_comm"]


def missing_ops(names: Sequence[str] | None = None) -> list[str]:
    """Those of the given ops (absent: of the needed ones) that are not built yet."""
    wanted = needed_ops(cuda=_has_cuda()) if names is None else names
    return [name for name in wanted if not _is_built(name)]


def prepare() -> None:
    """Readies this process, before it imports DeepSpeed, to load the ops at once.

    Costs milliseconds where they are built; several ranks of a node may call it together.
    """
    os.environ.update(environment())
    remove_stale_locks()
    prebuild(missing_ops())


def prebuild(names: Sequence[str]) -> None:
    """Builds the ops one after the other; the compiler uses the cores for each.

    Raises:
        OpBuildFailed: With the end of the compiler's output.
    """
    for name in names:
        # A lock of our own, which the kernel frees with its holder: of two installs one builds.
        with _exclusive(extensions_dir() / f"{name}.prebuild"):
            if not _is_built(name):
                remove_stale_locks()
                _build(name)


def remove_stale_locks() -> list[Path]:
    """Deletes the `lock` files whose makers are dead, and tells which.

    The maker of a lock has it open until just before it deletes it itself, so a lock that no
    process has open, twice in a row, belongs to nobody.
    """
    first = _unheld_locks()
    if not first:
        return []
    stale = sorted(first & _unheld_locks())
    for lock in stale:
        lock.unlink(missing_ok=True)
    return stale


def extensions_dir() -> Path:
    """The folder of the compiled ops: TORCH_EXTENSIONS_DIR, or one of this environment's own.

    torch's default folder is shared by all environments of a user, which then rebuild each
    other's ops; and an op fits only the torch, DeepSpeed and processor it was compiled for.
    """
    if chosen := os.environ.get("TORCH_EXTENSIONS_DIR"):
        return Path(chosen)
    made_for = f"{version('torch')} {version('deepspeed')} {sys.version} {_processor()}"
    folder = f"ops-{hashlib.sha256(made_for.encode()).hexdigest()[:12]}"
    if os.access(sys.prefix, os.W_OK):
        return Path(sys.prefix) / "torch_extensions" / folder
    prefix = hashlib.sha256(sys.prefix.encode()).hexdigest()[:12]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "finetune-orchestrator" / prefix / folder


def environment(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The variables with which DeepSpeed finds and loads the ops."""
    programs = str(Path(sys.executable).parent)  # ninja lies beside the interpreter
    path = environ.get("PATH", os.defpath).split(os.pathsep)
    chosen = {
        "PATH": os.pathsep.join([programs, *(entry for entry in path if entry != programs)]),
        "TORCH_EXTENSIONS_DIR": str(extensions_dir()),
    }
    return chosen if _has_cuda() else {**chosen, "DS_ACCELERATOR": "cpu"}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Builds DeepSpeed's ops.")
    parser.add_argument("names", nargs="*", choices=[[], *BUILDERS], help="absent: those needed")
    parser.add_argument("--load", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.load:
        _load(options.names[0])
        return 0
    for lock in remove_stale_locks():
        print(f"ops: removed the lock of a build that was killed: {lock}", flush=True)
    names = missing_ops(options.names or None)
    for name in names:
        started = time.monotonic()
        print(f"ops: compiling {name} ...", flush=True)
        try:
            prebuild([name])
        except OpBuildFailed as error:
            print(f"ops: {error}", file=sys.stderr)
            return error.exit_code
        print(f"ops: {name} is built ({time.monotonic() - started:.0f} s)", flush=True)
    if not names:
        print("ops: nothing to build")
    return 0


def _build(name: str) -> None:
    """Compiles and loads the op in a process of its own: a bad op may crash its loader."""
    folder = extensions_dir() / name
    folder.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        [sys.executable, "-m", "orchestrator.worker.training.ops", "--load", name],
        env={**os.environ, **environment()},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode != 0:
        raise OpBuildFailed(
            f"DeepSpeed's op {name} could not be built:\n{done.stdout[-3000:].strip()}",
            hint="it needs g++ and Python's headers (Debian and Ubuntu: g++ python3-dev)",
        )
    (folder / BUILT).touch()


def _load(name: str) -> None:
    from deepspeed.accelerator import get_accelerator

    get_accelerator().create_op_builder(BUILDERS[name]).load(verbose=False)


def _is_built(name: str) -> bool:
    folder = extensions_dir() / name
    return (folder / BUILT).exists() and (folder / f"{name}.so").exists()


def _unheld_locks() -> set[Path]:
    # Listed before the processes are looked at: a lock made in between is not in the list.
    locks = {path.resolve() for path in extensions_dir().glob("*/lock")}
    return locks - _open_files() if locks else set()


def _open_files() -> set[Path]:
    opened: set[Path] = set()
    for process in psutil.process_iter():
        try:
            opened.update(Path(file.path) for file in process.open_files())
        except psutil.Error:  # it ended, or is another user's
            continue
    return opened


def _has_cuda() -> bool:
    import torch

    return torch.cuda.is_available()


def _processor() -> str:
    """What the compiler's `-march=native` reads: instruction sets, or the machine's kind."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    return next((line for line in lines if line.startswith(("flags", "Features"))), "")


@contextmanager
def _exclusive(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


if __name__ == "__main__":
    sys.exit(main())
