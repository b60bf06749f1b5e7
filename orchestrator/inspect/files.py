"""From a source in a spec to the files behind it, and what their first bytes already tell.

Called by `inspect.sources`. URLs are brought here by a `fetch` function of the caller: this layer
knows no object store.
"""

from __future__ import annotations

import glob
import gzip
import hashlib
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import IO, Literal, cast

from orchestrator.errors import InvalidInput, OrchestratorError, Problem
from orchestrator.specs.data import Source
from orchestrator.specs.paths import local_path
from orchestrator.specs.suggest import closest

Format = Literal["jsonl", "csv", "parquet", "tfrecord"]

Fetch = Callable[[str], Path]
"""Brings a URL (an object, or a prefix for a folder) here and says where it lies."""

_ENDINGS: dict[str, Format] = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".csv": "csv",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".tfrecord": "tfrecord",
    ".tfrecords": "tfrecord",
}
# In a folder these are as likely a data set's own notes as its rows.
_ENDINGS_WHEN_NAMED: dict[str, Format] = {**_ENDINGS, ".json": "jsonl"}

_KNOWN = ".jsonl, .csv, .parquet or .tfrecord (.gz too, but for Parquet)"
_SHARD = re.compile(r"-\d+-of-\d+$")  # train.tfrecord-00001-of-00008
_WILDCARDS = "*?["

BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class DataFile:
    """One local file of rows. `shown` is how messages name it: as the user would."""

    path: Path
    shown: str
    format: Format

    @property
    def is_gzip(self) -> bool:
        return self.path.suffix == ".gz"

    def open(self) -> IO[bytes]:
        """The bytes, unpacked."""
        if self.is_gzip:
            return cast(IO[bytes], gzip.open(self.path, "rb"))
        return self.path.open("rb")

    def head(self, size: int = 4096) -> bytes:
        with self.open() as stream:
            return stream.read(size)


def files_of(
    source: Source, place: str, *, base_dir: Path, fetch: Fetch | None
) -> tuple[DataFile, ...]:
    """The files of a `path` source, in a fixed order; `place` is the source's path in the spec.

    Raises InvalidInput where there is none, or one cannot be read.
    """
    where, root, prefix = _located(source, place, base_dir, fetch)
    found = [
        DataFile(path, _shown(path, prefix), _format(path, source, place))
        for path in _paths(where, root, source, place)
    ]
    for file in found:
        _check_bytes(file, place)
    return tuple(found)


def paths_of(source: Source, place: str, *, base_dir: Path, fetch: Fetch | None) -> dict[str, Path]:
    """The files of a `path` source whatever they hold: name within the source -> where it lies.

    A file's own name is no part of what it says: a source of one file calls it by its ending.
    Raises InvalidInput where there is none.
    """
    where, root, _ = _located(source, place, base_dir, fetch)
    found = _paths(where, root, source, place, any_kind=True)
    if len(found) == 1 and not where.is_dir():
        return {f"file{found[0].suffix}": found[0]}
    top = where if where.is_dir() else os.path.commonpath([path.parent for path in found])
    return {path.relative_to(top).as_posix(): path for path in found}


def _located(
    source: Source, place: str, base_dir: Path, fetch: Fetch | None
) -> tuple[Path, Path, tuple[Path, str] | None]:
    """Where a source's path leads, the folder wildcards start in, and (root, URL) of a copy."""
    assert source.path is not None
    where = local_path(source.path, base_dir)
    if where is not None:
        return where, base_dir, None
    where, prefix = _fetched(source.path, f"{place}.path", fetch)
    return where, prefix[0], prefix


def _fetched(url: str, path: str, fetch: Fetch | None) -> tuple[Path, tuple[Path, str]]:
    """The local place of a URL's rows, and (local root, its URL) for messages."""
    if fetch is None:
        hint = "copy the data to a local path"
        raise InvalidInput([Problem(f"{url} cannot be reached from here", path=path, hint=hint)])
    head, slash, tail = url.partition("://")
    wild = next((i for i, c in enumerate(tail) if c in _WILDCARDS), None)
    folder = tail if wild is None else tail[:wild].rpartition("/")[0]
    root_url = f"{head}{slash}{folder}"
    try:
        root = fetch(root_url)
    except OrchestratorError as error:
        message = f"{root_url} cannot be read: {error.message}"
        raise InvalidInput([Problem(message, path=path, hint=error.hint)]) from error
    if wild is None:
        return root, (root, root_url)
    return root / tail[len(folder) + 1 :], (root, root_url)


def _shown(path: Path, prefix: tuple[Path, str] | None) -> str:
    if prefix is None:
        return os.path.normpath(path)
    root, url = prefix
    inside = path.relative_to(root).as_posix()
    return url if inside == "." else f"{url.rstrip('/')}/{inside}"


def _paths(
    where: Path, root: Path, source: Source, place: str, *, any_kind: bool = False
) -> list[Path]:
    path = f"{place}.path"
    try:
        if where.is_dir():
            return _paths_in(where, source, place, any_kind=any_kind)
        if where.exists():
            return [where]
    except OSError as error:
        raise InvalidInput([_unreadable(where, path, error)]) from error
    if any(sign in str(source.path) for sign in _WILDCARDS):
        # Wildcards are the user's only: a `[` in the folder of the spec stands for itself.
        inside = where.is_relative_to(root)
        pattern = where.relative_to(root) if inside else where
        matches = glob.glob(  # noqa: PTH207 (Path.glob takes no absolute pattern)
            str(pattern), root_dir=root if inside else None, recursive=True
        )
        files = sorted(match for name in matches if (match := root / name).is_file())
        if files:
            return files
        message = f"no file matches {source.path}"
        hint = f"looked for {os.path.normpath(where)}; check the folder and the wildcards"
        raise InvalidInput([Problem(message, path=path, hint=hint)])
    raise InvalidInput([_missing(where, source, path)])


def _missing(where: Path, source: Source, path: str) -> Problem:
    parent = next(folder for folder in where.absolute().parents if folder.is_dir())
    hint = f"looked for {os.path.normpath(where)}"
    if not Path(str(source.path)).is_absolute():
        hint += "; relative paths start at the spec's folder"
    if parent == where.absolute().parent:
        near = closest(where.name, _names_in(parent))
        if near:
            hint = f"did you mean {near}? {hint}"
    return Problem(f"{source.path} does not exist", path=path, hint=hint)


def _names_in(folder: Path) -> list[str]:
    try:
        return sorted(entry.name for entry in folder.iterdir())
    except OSError:
        return []


def _paths_in(folder: Path, source: Source, place: str, *, any_kind: bool = False) -> list[Path]:
    """Data files anywhere below a folder, sorted; hidden ones and `_SUCCESS` and its like not."""
    endings = _ENDINGS_WHEN_NAMED if source.format == "jsonl" else _ENDINGS
    try:
        below = sorted(_walk(folder))
    except OSError as error:
        where = Path(error.filename or folder)
        raise InvalidInput([_unreadable(where, f"{place}.path", error)]) from error
    found = [
        path
        for path in below
        if any_kind
        or ((kind := _by_ending(path, endings)) is not None and source.format in (None, kind))
    ]
    if not found:
        message = f"the folder {source.path} holds no {source.format or 'data'} file"
        hint = "hidden files do not count" if any_kind else f"files must end in {_KNOWN}"
        raise InvalidInput([Problem(message, path=f"{place}.path", hint=hint)])
    return found


def _walk(folder: Path) -> Iterator[Path]:
    """Every file below; a folder that may not be listed is an error, not an empty one."""

    def refuse(error: OSError) -> None:
        raise error

    for root, folders, names in os.walk(folder, onerror=refuse, followlinks=False):
        folders[:] = [name for name in folders if not name.startswith((".", "_"))]
        for name in names:
            if not name.startswith((".", "_")):
                yield Path(root, name)


def _by_ending(path: Path, endings: dict[str, Format]) -> Format | None:
    name = path.with_suffix("") if path.suffix == ".gz" else path
    return endings.get(_SHARD.sub("", name.suffix.lower()))


def _format(path: Path, source: Source, place: str) -> Format:
    kind = source.format or _by_ending(path, _ENDINGS_WHEN_NAMED)
    if kind is None:
        message = f"the format of {path.name} cannot be told from its ending"
        hint = f"add format: jsonl, csv, parquet or tfrecord; known endings are {_KNOWN}"
        raise InvalidInput([Problem(message, path=f"{place}.path", hint=hint)])
    return kind


def _unreadable(where: Path, path: str, error: OSError) -> Problem:
    if isinstance(error, PermissionError):
        hint = f"give this user the right to read it, e.g. chmod -R a+rX {os.path.normpath(where)}"
        return Problem(f"{os.path.normpath(where)} may not be read", path=path, hint=hint)
    return Problem(f"{os.path.normpath(where)} cannot be read: {error.strerror}", path=path)


# What a file's first bytes say it is instead of rows.
_FOREIGN = (
    (b"PAR1", "parquet", "a Parquet file", "write format: parquet"),
    (b"\x1f\x8b", "", "a gzip file", "let its name end in .gz"),
    (b"PK\x03\x04", "", "a zip file", "unpack it"),
    (b"version https://git-lfs", "", "a Git LFS pointer, not the data", "run `git lfs pull`"),
    (b"\xff\xfe", "", "UTF-16 text", "convert it: iconv -f UTF-16 -t UTF-8"),
    (b"\xfe\xff", "", "UTF-16 text", "convert it: iconv -f UTF-16 -t UTF-8"),
)


def _check_bytes(file: DataFile, place: str) -> None:
    """Raises InvalidInput where the file cannot be opened, is empty or is something else."""
    path = f"{place}.path"
    try:
        head = file.head()
    except PermissionError as error:
        raise InvalidInput([_unreadable(file.path, path, error)]) from error
    except (OSError, EOFError) as error:
        raise InvalidInput([gzip_problem(file, path, error)]) from error
    if not head:
        message = f"{file.shown} is empty"
        hint = "write it again; an unfinished copy leaves such a file"
        raise InvalidInput([Problem(message, path=path, hint=hint)])
    if file.format == "tfrecord":
        _check_first_record(file, head, path)
        return  # a record's length may begin like anything else
    for start, kind, name, hint in _FOREIGN:
        if head.startswith(start) and file.format != kind:
            raise InvalidInput([Problem(f"{file.shown} is {name}", path=path, hint=hint)])
    if file.format == "parquet" and not head.startswith(b"PAR1"):
        message = f"{file.shown} is not a Parquet file"
        hint = "check how it was written, or name its true format: jsonl or csv"
        raise InvalidInput([Problem(message, path=path, hint=hint)])
    if file.format == "jsonl" and head.removeprefix(BOM).lstrip().startswith(b"["):
        message = f"{file.shown} is one JSON array, not JSON Lines"
        hint = f"put each row on a line of its own: jq -c '.[]' {file.path.name} > rows.jsonl"
        raise InvalidInput([Problem(message, path=path, hint=hint)])


def _check_first_record(file: DataFile, head: bytes, path: str) -> None:
    from orchestrator.inspect.tfrecords import is_header

    if is_header(head):
        return
    for start, _, name, hint in _FOREIGN:
        if head.startswith(start):
            raise InvalidInput([Problem(f"{file.shown} is {name}", path=path, hint=hint)])
    message = f"{file.shown} is not a TFRecord file: it does not begin with the length of a record"
    hint = "copy it again, or name its true format; of compressed ones only .gz is read, not ZLIB"
    raise InvalidInput([Problem(message, path=path, hint=hint)])


def gzip_problem(file: DataFile, path: str, error: Exception) -> Problem:
    if file.is_gzip:
        message = f"{file.shown} is not a complete gzip file"
        return Problem(message, path=path, hint="copy it again; test it with gzip -t")
    return Problem(f"{file.shown} cannot be read: {error}", path=path)


def file_digest(path: Path) -> str:
    """sha256 (hex) of the file's bytes; one process reads an unchanged file once."""
    status = path.stat()
    return _digest(path, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=4096)
def _digest(path: Path, size: int, modified: int) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def numbered_lines(file: DataFile) -> Iterator[tuple[int, bytes]]:
    """Lines from 1, without a byte order mark."""
    with file.open() as stream:
        for number, line in enumerate(stream, start=1):
            yield number, line.removeprefix(BOM) if number == 1 else line
