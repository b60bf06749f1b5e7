"""Local folders to and from a store, file by file, each with its hash.

Used by checkpoints, kept weights and the registry. What makes a folder whole is the manifest that
its owner writes after the upload.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from orchestrator.errors import IntegrityError, ObjectNotFound
from orchestrator.storage.entries import FileEntry, safe_relative
from orchestrator.storage.objectstore import ObjectStore


def files_in(folder: Path) -> list[str]:
    """Relative paths of all files below a folder, sorted, with `/` between their parts."""
    return sorted(
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()
    )


def upload_folder(store: ObjectStore, folder: Path) -> tuple[FileEntry, ...]:
    """Uploads every file of a folder to the same relative path below the store."""
    return tuple(store.put_file(path, folder / path) for path in files_in(folder))


def download_files(store: ObjectStore, files: Iterable[FileEntry], folder: Path) -> None:
    """Fetches the files of a manifest; IntegrityError names the object that is not as promised."""
    for file in files:
        target = folder / safe_relative(file.path)
        try:
            store.get_file(file.path, target, sha256=file.sha256)
        except ObjectNotFound:
            raise IntegrityError(
                f"{store.key_url(file.path)} is missing, though its manifest lists it"
            ) from None
