"""The model registry: immutable, numbered versions in an object store, and names for them.

Layout: `<store>/<name>/<N>/` holds the files as `from_pretrained` wants them, `.claim.json` (whose
number it is) and `manifest.json`, written last: without it the version does not exist. Aliases are
`<store>/<name>/.aliases/<alias>.json`. Workers publish; the command line shows, pulls and verifies.
"""

from __future__ import annotations

import contextlib
import difflib
import json
import threading
import uuid
from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from orchestrator.errors import NotFound, ObjectExists, ObjectNotFound, UserError
from orchestrator.records import Record
from orchestrator.specs.base import is_dns_label
from orchestrator.storage.aliases import LATEST, PROMOTED, Aliases, check_alias
from orchestrator.storage.entries import FileEntry
from orchestrator.storage.manifests import MANIFEST, ModelManifest, read_record, write_record
from orchestrator.storage.objectstore import ObjectStore
from orchestrator.storage.published import (
    CLAIM,
    ModelVersion,
    VerifyIssue,
    check_publishable,
    check_stored,
    pull_version,
    verify_files,
)

__all__ = ["ModelRegistry", "ModelVersion", "VerifyIssue"]

_publishing: defaultdict[tuple[str, str, str], threading.Lock] = defaultdict(threading.Lock)
"""One publisher per (store, name, run) in a process; between processes the claim decides."""


class _Claim(Record):
    run: str
    claim: str  # competing claims must differ in their bytes


class ModelRegistry:
    """The models of one store."""

    def __init__(
        self, store: ObjectStore, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._store = store
        self._now = now

    # Publishing

    def publish(self, name: str, folder: Path, *, run: str) -> ModelVersion:
        """Publishes a folder as the run's one version of a model, and moves `latest` on.

        A run that has published already gets the same version back; one that was interrupted
        completes the version whose number it claimed.
        """
        if not is_dns_label(name):
            raise UserError(
                f"{name!r} cannot be a model's name",
                hint="use lower-case letters, digits and hyphens, at most 63",
            )
        with _publishing[self._store.url, name, run]:
            version = self.find_by_run(name, run)
            if version is None:
                version = self._complete(name, folder, check_publishable(folder), run)
        self._advance_latest(name)
        return version

    def find_by_run(self, name: str, run: str) -> ModelVersion | None:
        """The version a run has published, if it has."""
        number = self._claimed_by(name, run)
        return None if number is None else self._version(name, number)

    # Looking

    def models(self) -> list[str]:
        """Names of all models with at least one version."""
        names = (name for name in self._store.list_dirs() if is_dns_label(name))
        return [name for name in names if self._newest(name) is not None]

    def versions(self, name: str) -> list[ModelVersion]:
        """All versions of a model, oldest first; empty for an unknown one."""
        found = (self._version(name, number) for number in self._numbers(name))
        return [version for version in found if version is not None]

    def resolve(self, ref: str) -> ModelVersion:
        """The version that `name`, `name@3`, `name@latest` or `name@alias` stands for."""
        name, separator, tag = ref.partition("@")
        if not is_dns_label(name) or (separator and not is_dns_label(tag)):
            raise UserError(
                f"{ref!r} is not a model", hint="write name, name@3, name@latest or name@alias"
            )
        newest = self._newest(name)
        if newest is None:
            raise self._no_model(name)
        number = newest
        if tag and tag != LATEST:
            number = int(tag) if tag.isdigit() else self._aliased(name, tag)
        version = self._version(name, number)
        if version is None:
            known = ", ".join(str(version.version) for version in self.versions(name))
            raise NotFound(f"{name} has no version {number}", hint=f"it has {known}")
        return version

    def read_json(self, version: ModelVersion, path: str) -> Any:
        """A JSON document of a version, e.g. `metrics.json`."""
        if path not in {file.path for file in version.files}:
            raise NotFound(f"{version.ref} has no {path}")
        return json.loads(self._files(version).get_bytes(path))

    def pull(self, version: ModelVersion, folder: Path) -> Path:
        """Downloads a version to a new folder, every file verified: all of it or nothing."""
        return pull_version(self._files(version), version.files, folder)

    def verify(self, version: ModelVersion) -> list[VerifyIssue]:
        """Reads every object again and says what is missing, changed or extra."""
        issues = verify_files(self._files(version), version.files)
        if self._version(version.name, version.version) not in (version, None):
            url = self._files(version).key_url(MANIFEST)
            issues.append(VerifyIssue(path=MANIFEST, kind="changed", url=url))
        return issues

    # Aliases

    def aliases(self, name: str) -> dict[str, int]:
        """All names of a model's versions; `latest` is always the newest."""
        newest = self._newest(name)
        if newest is None:
            return {}
        return dict(sorted({**Aliases(self._store, name).all(), LATEST: newest}.items()))

    def set_alias(self, name: str, alias: str, version: int) -> None:
        """Points an alias at a version, from another one if need be."""
        check_alias(alias)
        self.resolve(f"{name}@{version}")
        Aliases(self._store, name).set(alias, version)

    def remove_alias(self, name: str, alias: str) -> None:
        check_alias(alias)
        self._aliased(name, alias)
        Aliases(self._store, name).remove(alias)

    def promote(self, version: ModelVersion) -> None:
        """Moves `promoted` on to a version that passed its gates; never back to an older one.

        Each looks again after it wrote, so that of jobs that end together the newest one wins.
        """
        aliases = Aliases(self._store, version.name)
        while (aliases.get(PROMOTED) or 0) < version.version:
            aliases.set(PROMOTED, version.version)

    # Below: numbers, claims and the order in which a version comes into being.

    def _files(self, version: ModelVersion) -> ObjectStore:
        return self._store.child(f"{version.name}/{version.version}")

    def _numbers(self, name: str) -> list[int]:
        """Every number that was ever claimed, oldest first."""
        names = self._store.list_dirs(name)
        return sorted(int(text) for text in names if text.isdigit() and text[0] != "0")

    def _version(self, name: str, number: int) -> ModelVersion | None:
        store = self._store.child(f"{name}/{number}")
        try:
            manifest = read_record(store, MANIFEST, ModelManifest)
        except ObjectNotFound:
            return None
        return ModelVersion(
            name=name,
            version=number,
            url=store.url,
            run=manifest.run,
            created_at=manifest.created_at,
            files=manifest.files,
            size_bytes=manifest.size_bytes,
        )

    def _newest(self, name: str) -> int | None:
        for number in reversed(self._numbers(name)):
            if self._store.size(f"{name}/{number}/{MANIFEST}") is not None:
                return number
        return None

    def _claimed_by(self, name: str, run: str) -> int | None:
        for number in reversed(self._numbers(name)):
            if self._claimant(name, number) == run:
                return number
        return None

    def _claimant(self, name: str, number: int) -> str | None:
        try:
            return read_record(self._store, f"{name}/{number}/{CLAIM}", _Claim).run
        except ObjectNotFound:
            return None

    def _claim(self, name: str, run: str) -> int:
        """A number of this run's own.

        Claims are never deleted and leave no gaps, so all publishers climb the same ladder from
        the highest claim they saw (in a folder a number shows before its claim does). Two
        processes of one run meet on it at the latest where the first of them claimed.
        """
        number = 1
        for claimed in reversed(self._numbers(name)):
            claimant = self._claimant(name, claimed)
            if claimant == run:
                return claimed
            if claimant is not None:
                number = max(number, claimed + 1)
        while True:
            claim = _Claim(run=run, claim=uuid.uuid4().hex)
            try:
                write_record(self._store, f"{name}/{number}/{CLAIM}", claim, create_only=True)
            except ObjectExists:
                if self._claimant(name, number) == run:
                    return number
                number += 1
            else:
                return number

    def _complete(self, name: str, folder: Path, files: list[str], run: str) -> ModelVersion:
        number = self._claim(name, run)
        store = self._store.child(f"{name}/{number}")
        entries: list[FileEntry] = []
        etags: dict[str, str | None] = {}
        for path in files:
            # Another process of this run may have been faster; its version must not change.
            if (published := self._version(name, number)) is not None:
                return published
            entry, etags[path] = store.put_file_tagged(path, folder / path)
            entries.append(entry)
        check_stored(store, entries, etags)
        manifest = ModelManifest(
            name=name, version=number, run=run, created_at=self._now(), files=tuple(entries)
        )
        with contextlib.suppress(ObjectExists):  # another process of this run was first
            write_record(store, MANIFEST, manifest, create_only=True)
        version = self._version(name, number)
        assert version is not None, "a manifest that was just written is there"
        return version

    def _advance_latest(self, name: str) -> None:
        """Moves the alias object up to the newest version.

        Publishers may overtake each other between looking and writing, so each looks again after
        it wrote: whoever writes last has seen the newest.
        """
        aliases = Aliases(self._store, name)
        while (newest := self._newest(name)) is not None and newest > (aliases.get(LATEST) or 0):
            aliases.set(LATEST, newest)

    def _aliased(self, name: str, alias: str) -> int:
        number = Aliases(self._store, name).get(alias)
        if number is None:
            known = self.aliases(name)
            raise NotFound(
                f"{name} has no alias {alias!r}", hint=_closest(alias, list(known), "it has")
            )
        return number

    def _no_model(self, name: str) -> NotFound:
        return NotFound(
            f"there is no model {name!r} in {self._store.url}",
            hint=_closest(name, self.models(), "it holds"),
        )


def _closest(word: str, known: list[str], lead: str) -> str:
    if not known:
        return "nothing has been published there yet"
    close = difflib.get_close_matches(word, known, n=1)
    asked = f"did you mean {close[0]}? " if close else ""
    return f"{asked}{lead} {', '.join(known)}"
