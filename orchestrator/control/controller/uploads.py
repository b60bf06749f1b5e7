"""Files that users hand over with a spec: kept by digest in their team's store.

The API puts them here (`PUT /uploads/…`), `places` looks up where `upload://<sha256>/<name>` lies.
A folder is a list of files that were handed over before, kept under the digest of the list:

    .uploads/<sha256 of the file>/<name>
    .uploads/<sha256 of the list>/<name>/<path of each file>
    .uploads/<sha256 of the list>/.folder.json     written last: the folder is whole
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from orchestrator.errors import InvalidInput, Problem, UserError
from orchestrator.storage.entries import FileEntry
from orchestrator.storage.objectstore import ObjectStore

FOLDER = ".folder.json"
MAX_FOLDER_FILES = 10_000

_DIGEST = re.compile(r"^[0-9a-f]{64}$")
_NAME = re.compile(r"^[A-Za-z0-9_][A-Za-z0-9_.+@=-]{0,199}$")
"""Of a file or folder: nothing that a URL, a pattern or a path could take for something else."""


class FolderList(BaseModel):
    """The files of a folder; its bytes as they were sent give the folder its digest."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    files: tuple[FileEntry, ...] = Field(min_length=1, max_length=MAX_FOLDER_FILES)


class Uploads:
    """The uploads of one team."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store.child(".uploads")

    def url(self, sha256: str, name: str) -> str | None:
        """Where a file or folder lies; None where it was not handed over."""
        check_upload(sha256, name)
        if self._store.size(f"{sha256}/{FOLDER}") is not None:
            found = any(True for _ in self._store.list(f"{sha256}/{name}"))
        else:
            found = self._store.size(f"{sha256}/{name}") is not None
        return self._store.key_url(f"{sha256}/{name}") if found else None

    def put_file(self, sha256: str, name: str, path: Path) -> None:
        """Keeps a file whose digest was checked while it arrived."""
        check_upload(sha256, name)
        self._store.put_file(f"{sha256}/{name}", path)

    def put_folder(self, sha256: str, name: str, body: bytes) -> None:
        """Puts a folder together from files that are here.

        Raises:
            InvalidInput: The list is none, has another digest, or names files that are not here.
        """
        check_upload(sha256, name)
        if hashlib.sha256(body).hexdigest() != sha256:
            raise wrong_digest(sha256)
        files = _listed(body)
        sources = {file.path: self._source(file) for file in files}
        missing = [file for file in files if sources[file.path] is None]
        if missing:
            raise InvalidInput(
                [
                    Problem("this file was not uploaded", path=file.path, hint=f"PUT {file.sha256}")
                    for file in missing
                ]
            )
        for path, source in sources.items():
            assert source is not None
            self._store.copy(source, f"{sha256}/{name}/{path}")
        self._store.put_bytes(f"{sha256}/{FOLDER}", body)

    def _source(self, file: FileEntry) -> str | None:
        """The key of a file that was handed over, under whatever name."""
        for info in self._store.list(file.sha256):
            if info.key.count("/") == 1 and info.size_bytes == file.size_bytes:
                return info.key
        return None


def check_upload(sha256: str, name: str) -> None:
    """Raises UserError for what cannot be a digest or a name."""
    if not _DIGEST.match(sha256):
        raise UserError(f"{sha256!r} is no sha256", hint="64 lower-case hexadecimal digits")
    if not _NAME.match(name):
        raise UserError(
            f"{name!r} cannot be the name of an upload",
            hint="letters, digits and _ . + @ = -, not beginning with a dot",
        )


def wrong_digest(sha256: str) -> InvalidInput:
    message = f"the bytes that arrived have another sha256 than {sha256}"
    return InvalidInput([Problem(message, hint="the file changed on its way: send it again")])


def _listed(body: bytes) -> tuple[FileEntry, ...]:
    try:
        files = FolderList.model_validate_json(body).files
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise InvalidInput([Problem(f"no list of files: {first['msg']}", path=where)]) from None
    wrong = [file.path for file in files if not all(map(_NAME.match, file.path.split("/")))]
    if wrong:
        raise InvalidInput([Problem("cannot be the name of an upload", path=wrong[0])])
    return files
