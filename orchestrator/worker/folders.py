"""A node's own folders for an Attempt: copies that stay, scratch that goes, the base model.

Called by the driver and by every rank. Where the Launch names folders, they are of the one host
that server and gang share; else each node has its own, by its own settings.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from orchestrator.errors import IntegrityError
from orchestrator.inspect.fresh import fresh_folder
from orchestrator.inspect.model import folder_digest
from orchestrator.records import Launch
from orchestrator.records.ids import submission_id
from orchestrator.settings import load_settings
from orchestrator.specs import CustomTask, ModelSpec
from orchestrator.specs.model import FreshModel
from orchestrator.storage.adapters import Origin, origin_of
from orchestrator.storage.bases import (
    Base,
    BasePlaces,
    base_digest,
    describe_base,
    fetch_base,
    resolve_base,
    whole_base,
)
from orchestrator.storage.objectstore import open_store
from orchestrator.worker.data.splits import load_tables
from orchestrator.worker.models.fresh import with_weights
from orchestrator.worker.models.start import Start

STORE_RETRY_SECONDS = 1800.0


@dataclass(frozen=True, slots=True)
class NodeFolders:
    """Where a process of an Attempt keeps what is on this node."""

    cache: Path  # stays: copies of what stores and hubs hold
    scratch: Path  # of this Attempt alone, shared by its processes on this node


@contextmanager
def node_folders(launch: Launch) -> Iterator[NodeFolders]:
    """The folders of this node; its last process of the Attempt removes the scratch."""
    if launch.cache is not None and launch.scratch is not None:
        yield NodeFolders(Path(launch.cache), Path(launch.scratch))
        return
    settings = load_settings()
    name = submission_id(launch.job, launch.attempt)
    with shared_scratch(settings.state_dir / "attempts", name) as scratch:
        yield NodeFolders(Path(launch.cache or settings.cache_dir), scratch)


def row_limit() -> int:
    """Bytes that encoded rows may take on this node, by its own settings."""
    return load_settings().row_cache_bytes


@contextmanager
def shared_scratch(root: Path, name: str) -> Iterator[Path]:
    """A folder that lives as long as one of its users; what dead ones left is removed first.

    Users hold a shared `flock` beside it, which the kernel takes back however they end.
    """
    root.mkdir(parents=True, exist_ok=True, mode=0o700)
    _remove_unused(root)
    folder, descriptor = root / name, _share(root / f"{name}.lock")
    try:
        folder.mkdir(exist_ok=True, mode=0o700)
        yield folder
    finally:
        # Asking for the whole lock gives up the shared one, so of all users exactly one gets it.
        _remove_if_unused(folder, descriptor)
        os.close(descriptor)


def find_start(launch: Launch, cache: Path, *, verify: bool) -> Start:
    """The base model on this node, brought here once however many ranks ask.

    Args:
        launch: Its spec names the base as it was pinned.
        cache: Where copies are kept.
        verify: Whether to compare a base that is named by a place, not by its content, with the
            one that was planned with.
    """
    model = launch.spec.spec.model
    assert model is not None, "asked for only where the task has a base"
    store = open_store(launch.store, retry_seconds=STORE_RETRY_SECONDS)
    places = BasePlaces(Path("/"), cache, store)
    if model.fresh is not None:
        return _fresh_start(launch, model.fresh, cache)
    if launch.base_path is not None:
        return _start(launch, Path(launch.base_path), places)
    with _alone(model, cache):
        base = resolve_base(model, places)
        folder = fetch_base(base)
        start = _start(launch, folder, places)
    by_place = base.kind in ("folder", "store")
    is_custom = isinstance(launch.spec.spec.task, CustomTask)
    digest_of = base_digest if is_custom else _described_digest
    if verify and by_place and digest_of(base) != launch.identity.base:
        raise IntegrityError(
            f"the base at {model.base} is not the one this job was planned with",
            hint="submit the job again, or put the base into the object store",
        )
    return start


def _fresh_start(launch: Launch, fresh: FreshModel, cache: Path) -> Start:
    """A base without weights, given random ones; made here of the rows where the plan's is not."""
    body, digest = launch.spec.spec, launch.identity.base
    assert body.model is not None
    with _alone(body.model, cache):
        if launch.base_path is not None:
            folder = Path(launch.base_path)
        else:
            folder = fresh_folder(fresh, body.data, load_tables(body, cache), cache)
        if folder_digest(folder) != digest:
            raise IntegrityError(
                "the tokenizer that was made here is not the one this job was planned with",
                hint="install the same release of tokenizers on server and workers",
            )
        seed = body.training.seed
        into = cache / "fresh" / f"{digest[:32]}-{seed}"
        return Start(with_weights(folder, seed, into), Origin(fresh.shown, None, digest))


@contextmanager
def _alone(model: ModelSpec, cache: Path) -> Iterator[None]:
    """One process of this node at a time that brings or makes this base."""
    key = hashlib.sha256(model.model_dump_json().encode()).hexdigest()[:24]
    locks = cache / "locks"
    locks.mkdir(parents=True, exist_ok=True)
    with (locks / f"base-{key}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _start(launch: Launch, folder: Path, places: BasePlaces) -> Start:
    model = launch.spec.spec.model
    assert model is not None
    origin = origin_of(folder)
    if origin is None:
        return Start(folder, Origin(model.named, model.revision, launch.identity.base))
    return Start(fetch_base(whole_base(folder, origin, places)), origin, folder)


def _described_digest(base: Base) -> str:
    return describe_base(base).digest


def _remove_unused(root: Path) -> None:
    """Scratch of Attempts none of whose processes lives on this node any more."""
    for lock in root.glob("*.lock"):
        with suppress(FileNotFoundError):
            descriptor = os.open(lock, os.O_RDWR)
            _remove_if_unused(lock.with_suffix(""), descriptor)
            os.close(descriptor)


def _remove_if_unused(folder: Path, descriptor: int) -> None:
    lock = folder.with_name(f"{folder.name}.lock")
    with suppress(BlockingIOError):
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if _is_still(lock, descriptor):
            shutil.rmtree(folder, ignore_errors=True)
            lock.unlink(missing_ok=True)  # while it is held: who waits for it sees another file


def _share(lock: Path) -> int:
    while True:
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        if _is_still(lock, descriptor):
            return descriptor
        os.close(descriptor)  # its last user unlinked it just now


def _is_still(lock: Path, descriptor: int) -> bool:
    with suppress(FileNotFoundError):
        return os.fstat(descriptor).st_ino == lock.stat().st_ino
    return False
