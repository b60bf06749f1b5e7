"""What this machine can do, one check after the other; `doctor` shows them.

Nothing is started and nothing is kept: the store gets one tiny object that is deleted again. A part
that is not installed is a finding, never a crash.
"""

from __future__ import annotations

import os
import platform
import shutil
import socket
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.errors import OrchestratorError
from orchestrator.interfaces.cli import figures

if TYPE_CHECKING:
    from orchestrator.inspect.hardware import HardwareFacts
    from orchestrator.settings import Settings

INSTALL = "pip install 'finetune-orchestrator[worker]'"
_GB = 1_000_000_000
_LEAST_MEMORY_BYTES = 3 * _GB  # what a small encoder on one worker takes, Ray included
_LEAST_DISK_BYTES = 5 * _GB
_LEAST_SHARED_BYTES = _GB // 2
_RAY_PATH_LENGTH = 40  # longer, and Ray's socket paths pass the 107 bytes that Linux allows


class Status(StrEnum):
    OK = "ok"
    WARNING = "warning"  # works, but something is missing or tight
    FAILED = "failed"  # `run` cannot work


@dataclass(frozen=True, slots=True)
class Check:
    """One finding, and what to do about it where it is not ok."""

    name: str
    status: Status
    detail: str
    remedy: str | None = None


def checks(settings: Settings) -> Iterator[Check]:
    """Every check in turn; slow ones (torch's import, a store that is away) take seconds."""
    for name, check in CHECKS.items():
        try:
            yield check(settings)
        except Exception as error:  # noqa: BLE001 - what a check cannot tell is itself a finding
            yield Check(name, Status.FAILED, f"{type(error).__name__}: {error}")


def _python(settings: Settings) -> Check:
    detail = f"{platform.python_version()} at {sys.executable}"
    return Check("python", Status.OK, detail)


def _torch(settings: Settings) -> Check:
    if (found := _missing("torch")) is not None:
        return found
    import torch

    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
        gpus = f"{len(names)} GPU{'s' if len(names) > 1 else ''}: {', '.join(names)}"
        detail = f"{torch.__version__}, CUDA {torch.version.cuda}, {gpus}"
        return Check("torch", Status.OK, detail)
    seen = _hardware(settings).gpus
    if not seen:
        return Check("torch", Status.OK, f"{torch.__version__}, no GPU here: training on the CPU")
    why = "cannot use it" if torch.version.cuda else "is built for the CPU alone"
    detail = f"there is a {seen[0].name}, but torch {torch.__version__} {why}"
    remedy = "install the torch build of your driver's CUDA version, or update the driver"
    return Check("torch", Status.WARNING, detail, remedy)


def _deepspeed(settings: Settings) -> Check:
    return _missing("deepspeed") or Check("deepspeed", Status.OK, metadata.version("deepspeed"))


def _ops(settings: Settings) -> Check:
    """The compiled ops: built ahead, so that no job begins with a compiler."""
    for package in ("torch", "deepspeed"):
        if _missing(package) is not None:
            return Check("deepspeed ops", Status.FAILED, f"{package} is not installed", INSTALL)
    from orchestrator.worker.training import ops

    if missing := ops.missing_ops():
        detail = f"not built yet: {', '.join(missing)}; the first job will compile them"
        remedy = f"{sys.executable} -m orchestrator.worker.training.ops"
        if shutil.which("c++") is None:
            return Check(
                "deepspeed ops",
                Status.FAILED,
                f"{detail}, and there is no C++ compiler",
                f"install g++ (Debian and Ubuntu: apt-get install g++), then {remedy}",
            )
        return Check("deepspeed ops", Status.WARNING, detail, remedy)
    return Check("deepspeed ops", Status.OK, f"built, in {ops.extensions_dir()}")


def _ray(settings: Settings) -> Check:
    if (found := _missing("ray")) is not None:
        return found
    version, folder = metadata.version("ray"), settings.ray_temp_dir
    if len(str(folder)) > _RAY_PATH_LENGTH:
        return Check(
            "ray",
            Status.FAILED,
            f"{version}, but ray_temp_dir {folder} is too long for its sockets",
            f"set ORCHESTRATOR_RAY_TEMP_DIR to a folder of at most {_RAY_PATH_LENGTH} characters",
        )
    if not _writable(folder):
        remedy = "set ORCHESTRATOR_RAY_TEMP_DIR to a folder you may write"
        return Check("ray", Status.FAILED, f"{version}, but {folder} may not be written", remedy)
    return Check("ray", Status.OK, f"{version}, its sockets and logs in {folder}")


def _transformers(settings: Settings) -> Check:
    found = _missing("transformers")
    return found or Check("transformers", Status.OK, metadata.version("transformers"))


def _store(settings: Settings) -> Check:
    from orchestrator.storage.objectstore import open_store

    try:
        store = open_store(settings.store)
        folder = store.local_path
        if folder is not None and not folder.exists():
            if _writable(folder):
                return Check("store", Status.OK, f"{store.url} will be created by the first run")
            remedy = "set ORCHESTRATOR_STORE to a folder you may write"
            return Check("store", Status.FAILED, f"{store.url} cannot be created", remedy)
        store.probe_writable()
    except OrchestratorError as error:
        remedy = error.hint or "set ORCHESTRATOR_STORE to another store"
        return Check("store", Status.FAILED, error.message, remedy)
    return Check("store", Status.OK, f"{store.url} can be read and written")


def _memory(settings: Settings) -> Check:
    found = _hardware(settings)
    free = found.available_memory_bytes
    detail = f"{figures.size(free)} free of {figures.size(found.memory_bytes)}"
    detail += f", {found.cpus} CPU core{'s' if found.cpus > 1 else ''}"
    if free < _LEAST_MEMORY_BYTES:
        remedy = f"free some: even a small job takes {figures.size(_LEAST_MEMORY_BYTES)}"
        return Check("memory", Status.WARNING, detail, remedy)
    return Check("memory", Status.OK, detail)


def _shared_memory(settings: Settings) -> Check:
    folder = Path("/dev/shm")
    if not folder.is_dir():
        return Check("shared memory", Status.OK, "no /dev/shm here; Ray uses its temporary folder")
    free = shutil.disk_usage(folder).free
    detail = f"{figures.size(free)} free in {folder}"
    if free < _LEAST_SHARED_BYTES:
        remedy = "give the container more: docker run --shm-size=2g"
        return Check("shared memory", Status.WARNING, detail, remedy)
    return Check("shared memory", Status.OK, detail)


def _disk(settings: Settings) -> Check:
    folders = {"cache": settings.cache_dir, "ray": settings.ray_temp_dir}
    if "://" not in settings.store:
        folders = {"store": Path(settings.store)} | folders
    free = {name: shutil.disk_usage(_existing(folder)).free for name, folder in folders.items()}
    detail = ", ".join(f"{name} {figures.size(num_bytes)}" for name, num_bytes in free.items())
    tight = [name for name, num_bytes in free.items() if num_bytes < _LEAST_DISK_BYTES]
    if tight:
        remedy = f"make room, or move {' and '.join(tight)} to another disk (see settings)"
        return Check("disk", Status.WARNING, f"free for {detail}", remedy)
    return Check("disk", Status.OK, f"free for {detail}")


def _ports(settings: Settings) -> Check:
    """Workers report to this address; Ray picks free ports on loopback itself."""
    host = settings.report_host
    try:
        with socket.create_server((host, 0)) as server:
            port = server.getsockname()[1]
    except OSError as error:
        detail = f"no port can be bound at report_host {host}: {error.strerror}"
        return Check("ports", Status.FAILED, detail, "set ORCHESTRATOR_REPORT_HOST=127.0.0.1")
    return Check("ports", Status.OK, f"free ports at {host}, e.g. {port}")


def _settings(settings: Settings) -> Check:
    if settings.warnings:
        detail = "; ".join(settings.warnings)
        return Check("settings", Status.WARNING, detail, "unset or correct them")
    return Check("settings", Status.OK, "nothing unknown in the environment or the files")


def _hardware(settings: Settings) -> HardwareFacts:
    """What this process may use: in a container that is less than the machine has."""
    from orchestrator.inspect.hardware import inspect_hardware

    return inspect_hardware(settings.cache_dir)


def _missing(package: str) -> Check | None:
    try:
        metadata.version(package)
    except metadata.PackageNotFoundError:
        return Check(package, Status.FAILED, "not installed", INSTALL)
    return None


def _writable(folder: Path) -> bool:
    return os.access(_existing(folder), os.W_OK | os.X_OK)


def _existing(folder: Path) -> Path:
    """The folder, or the nearest one above it that exists."""
    while not folder.is_dir() and folder != folder.parent:
        folder = folder.parent
    return folder


CHECKS: dict[str, Callable[[Settings], Check]] = {
    "python": _python,
    "torch": _torch,
    "deepspeed": _deepspeed,
    "deepspeed ops": _ops,
    "ray": _ray,
    "transformers": _transformers,
    "store": _store,
    "memory": _memory,
    "shared memory": _shared_memory,
    "disk": _disk,
    "ports": _ports,
    "settings": _settings,
}
