"""User code in a job's store: `.code/<sha256>.tar`, brought to workers and unpacked there.

Written by whoever adds a job, read by its workers. The name is the digest of the bytes, so an
archive that is there is the right one or none, and what was changed in the store is not unpacked.
"""

from __future__ import annotations

import hashlib
import re
import shutil
from pathlib import Path

from orchestrator.errors import IntegrityError, InvalidInput, ObjectNotFound
from orchestrator.inspect.code import Code, read_archive
from orchestrator.storage.entries import safe_relative
from orchestrator.storage.objectstore import ObjectStore
from orchestrator.storage.transfers import local_errors

_DIGEST = re.compile(r"[0-9a-f]{64}")


class CodeStore:
    """The user code of one store."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store.child(".code")

    def put(self, code: Code) -> None:
        """Keeps it for the jobs that name it; kept already, nothing is sent."""
        if self._store.size(_key(code.sha256)) != len(code.archive):
            self._store.put_bytes(_key(code.sha256), code.archive)

    def get(self, sha256: str) -> Code:
        """The code of that digest; raises IntegrityError where it is gone or is not that."""
        assert _DIGEST.fullmatch(sha256), sha256
        url = self._store.key_url(_key(sha256))
        try:
            data = self._store.get_bytes(_key(sha256))
        except ObjectNotFound:
            raise IntegrityError(f"{url} is gone", hint="submit the job again") from None
        found = hashlib.sha256(data).hexdigest()
        if found != sha256:
            raise IntegrityError(f"{url} is damaged: its sha256 is {found}")
        try:
            return read_archive(data, url)
        except InvalidInput as error:
            raise IntegrityError(str(error)) from None


def unpack(code: Code, folder: Path) -> Path:
    """Writes its files to `folder`, in place of whatever was there."""
    with local_errors(folder):
        shutil.rmtree(folder, ignore_errors=True)
        for path, content in code.files.items():
            target = folder / safe_relative(path)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
    return folder


def _key(sha256: str) -> str:
    return f"{sha256}.tar"
