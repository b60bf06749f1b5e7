"""Weights kept beside checkpoints: the best so far, of which one set may be published.

They outlive the checkpoint they were taken at, so they have a place and a manifest of their own:
`a<n>/weights/step-<s>/`. `CheckpointStore` hands its calls on to here.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from orchestrator.storage.folders import download_files, upload_folder
from orchestrator.storage.manifests import MANIFEST, WeightsManifest, read_record, write_record
from orchestrator.storage.objectstore import ObjectStore

_STEP_MANIFEST = re.compile(rf"^a\d+/weights/step-(\d+)/{re.escape(MANIFEST)}$")


class KeptWeights:
    """The kept weights of one job; `store` lies at the job's own prefix."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    def put(self, attempt: int, step: int, folder: Path, metadata: dict[str, Any]) -> None:
        """Uploads a folder, its manifest last; what was kept for this step before is replaced."""
        self._store.delete(_manifest(attempt, step))
        files = upload_folder(self._store.child(_prefix(attempt, step)), folder)
        manifest = WeightsManifest(attempt=attempt, step=step, metadata=metadata, files=files)
        write_record(self._store, _manifest(attempt, step), manifest)

    def fetch(self, attempt: int, step: int, folder: Path) -> dict[str, Any]:
        """Downloads into `folder`, every file verified; the metadata they were kept with."""
        manifest = read_record(self._store, _manifest(attempt, step), WeightsManifest)
        download_files(self._store.child(_prefix(attempt, step)), manifest.files, folder)
        return manifest.metadata

    def delete(self, attempt: int, step: int) -> None:
        """Manifest first, so that half a deletion is no weights rather than broken ones."""
        self._store.delete(_manifest(attempt, step))
        self._store.delete_prefix(_prefix(attempt, step))

    def steps(self, attempt: int) -> list[int]:
        """Steps whose kept weights are complete, oldest first."""
        found = (_STEP_MANIFEST.match(i.key) for i in self._store.list(f"a{attempt}/weights"))
        return sorted(int(match.group(1)) for match in found if match)


def _prefix(attempt: int, step: int) -> str:
    return f"a{attempt}/weights/step-{step}"


def _manifest(attempt: int, step: int) -> str:
    return f"{_prefix(attempt, step)}/{MANIFEST}"
