"""User code as one archive: the same files give the same bytes, wherever they were packed.

Read by `inspect.code_checks` (what `runtime.code` names), by a client before it uploads a folder,
and by `storage.code` before anything is unpacked. Nothing of it is imported or run here.

The archive is a plain ustar file: sorted names, no owners, no times. It is read by the few lines
below and not by `tarfile`: it may come from anybody, and links, devices, sparse files and extended
headers, by which such a file could lead out of its folder or grow without end, have no place in it.
"""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from orchestrator.errors import InvalidInput, Problem

MAX_BYTES = 20_000_000
MAX_FILES = 2_000

PATH = "runtime.code"

_BLOCK = 512
_FILE, _FOLDER = (b"0", b"\0"), b"5"
_CODE_ONLY = "keep weights and data out of it: a base and sources have fields of their own"


@dataclass(frozen=True, slots=True)
class CodeFile:
    """One file, as a lineage lists it."""

    path: str
    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Code:
    """The files of a package of user code, and the one archive they make."""

    files: Mapping[str, bytes]  # by path, sorted
    archive: bytes
    sha256: str  # of the archive, hex

    def listed(self) -> tuple[CodeFile, ...]:
        return tuple(
            CodeFile(path, len(content), hashlib.sha256(content).hexdigest())
            for path, content in self.files.items()
        )


def pack_folder(folder: Path) -> Code:
    """Packs a folder. Hidden files, caches and compiled files are left out.

    Raises:
        InvalidInput: It is no folder, holds nothing or too much, or a link in it leads out.
    """
    if not folder.is_dir():
        hint = "name the folder of your code; relative paths start at the spec's folder"
        raise InvalidInput([_wrong(f"there is no folder {folder}", hint)])
    files: dict[str, bytes] = {}
    problems: list[Problem] = []
    size = 0
    for path in _walk(folder, problems):
        try:
            size += path.stat().st_size
            if size > MAX_BYTES or len(files) == MAX_FILES:
                problems.append(_too_large(str(folder)))
                break
            files[path.relative_to(folder).as_posix()] = path.read_bytes()
        except OSError as error:
            problems.append(_wrong(f"{path} cannot be read: {error.strerror}", None))
    if problems:
        raise InvalidInput(problems)
    return _packed(files, str(folder))


def read_archive(data: bytes, shown: str) -> Code:
    """Reads an archive that somebody else packed; `shown` is how messages name it.

    Raises:
        InvalidInput: It is none, or holds anything but plain files below its own folder.
    """
    files: dict[str, bytes] = {}
    size = 0
    for name, content in _members(data, shown):
        path = name.removeprefix("./")
        if not _is_plain(path):
            raise InvalidInput([_wrong(f"{shown} holds {name!r}, which leads out of it", None)])
        if any(map(_is_ignored, path.split("/"))):
            continue
        if path in files:
            raise InvalidInput([_wrong(f"{shown} holds {path} twice", "pack the folder again")])
        size += len(content)
        if size > MAX_BYTES or len(files) == MAX_FILES:
            raise InvalidInput([_too_large(shown)])
        files[path] = content
    return _packed(files, shown)


def _packed(files: Mapping[str, bytes], shown: str) -> Code:
    if not files:
        raise InvalidInput([_wrong(f"{shown} holds no files", "name the folder of your code")])
    ordered = {path: files[path] for path in sorted(files)}
    folders = {"/".join(path.split("/")[:end]) for path in files for end in range(1, _depth(path))}
    if clash := sorted(folders & files.keys()):
        message = f"{shown} holds {clash[0]} as a file and as a folder"
        raise InvalidInput([_wrong(message, "pack the folder again")])
    archive = _archive(ordered)
    return Code(ordered, archive, hashlib.sha256(archive).hexdigest())


def _archive(files: Mapping[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for path, content in files.items():
            entry = tarfile.TarInfo(path)
            entry.size, entry.mode = len(content), 0o644
            try:
                archive.addfile(entry, io.BytesIO(content))
            except ValueError:
                message = f"the path {path} is too long"
                raise InvalidInput([_wrong(message, "shorten it to 100 characters")]) from None
    return stream.getvalue()


def _walk(folder: Path, problems: list[Problem]) -> Iterator[Path]:
    """Every file below that is packed, in no order. A link counts as the file it leads to."""
    root = folder.resolve()
    for place, folders, names in os.walk(folder, followlinks=False):
        kept = sorted(name for name in folders if not _is_ignored(name))
        folders[:] = [name for name in kept if not Path(place, name).is_symlink()]
        for name in kept:
            if Path(place, name).is_symlink():
                message = f"{Path(place, name)} is a link to a folder"
                problems.append(_wrong(message, "put the folder itself there"))
        for name in sorted(names):
            path = Path(place, name)
            if _is_ignored(name):
                continue
            if path.is_symlink() and not path.resolve().is_relative_to(root):
                message = f"{path} is a link that leads out of the folder"
                problems.append(_wrong(message, "put the file itself there"))
            elif not path.is_file():
                problems.append(_wrong(f"{path} is no plain file", "remove it"))
            elif not _is_plain(path.relative_to(folder).as_posix()):
                problems.append(_wrong(f"{path} has a name that is no plain text", "rename it"))
            else:
                yield path


def _members(data: bytes, shown: str) -> Iterator[tuple[str, bytes]]:
    """Names and contents of an archive's files."""
    offset, zeros = 0, bytes(_BLOCK)
    broken = InvalidInput(
        [_wrong(f"{shown} is no archive of plain files", "pack it with tar --format=ustar")]
    )
    while (header := data[offset : offset + _BLOCK]) != zeros:
        if len(header) < _BLOCK or not _checks(header):
            raise broken
        offset += _BLOCK
        kind, size = header[156:157], _octal(header[124:136])
        if kind == _FOLDER and size == 0:
            continue
        if kind not in _FILE or size is None or offset + size > len(data):
            raise broken
        name = header[:100].rstrip(b"\0")
        if header[257:263] == b"ustar\0" and (prefix := header[345:500].rstrip(b"\0")):
            name = prefix + b"/" + name
        try:
            yield name.decode(), data[offset : offset + size]
        except UnicodeDecodeError:
            raise broken from None
        offset += -(-size // _BLOCK) * _BLOCK


def _checks(header: bytes) -> bool:
    """Whether a header's bytes add up to its check sum, in which that itself counts as spaces."""
    return _octal(header[148:156]) == sum(header[:148]) + 8 * ord(" ") + sum(header[156:])


def _octal(field: bytes) -> int | None:
    digits = field.strip(b"\0 ")
    if not digits or any(digit not in b"01234567" for digit in digits):
        return None
    return int(digits, 8)


def _is_plain(path: str) -> bool:
    """Whether it names one file below the folder, in one spelling, in text."""
    parts = path.split("/")
    return (
        path.isprintable()
        and "\\" not in path
        and not any(part in ("", ".", "..") for part in parts)
    )


def _is_ignored(name: str) -> bool:
    """What is no code: histories, caches, and hidden files, which often hold secrets."""
    return name.startswith(".") or name == "__pycache__" or name.endswith((".pyc", ".pyo"))


def _depth(path: str) -> int:
    return path.count("/") + 1


def _too_large(shown: str) -> Problem:
    limit = f"{MAX_BYTES / 1e6:.0f} MB or {MAX_FILES} files"
    return _wrong(f"{shown} holds more than {limit}", _CODE_ONLY)


def _wrong(message: str, hint: str | None) -> Problem:
    return Problem(message, path=PATH, hint=hint)
