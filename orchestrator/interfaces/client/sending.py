"""Local files of a spec, handed over by digest, and the overrides that name them.

A server reads no path that a client names. The spec's text stays as its user wrote it; where its
data lie now is said by overrides, `path=upload://<sha256>/<name>`.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from orchestrator.errors import InvalidInput, NotFound, Problem
from orchestrator.inspect.code_checks import read_code
from orchestrator.inspect.files import DataFile, files_of, paths_of
from orchestrator.interfaces.client.connection import Connection
from orchestrator.interfaces.wire import FOLDER_TYPE
from orchestrator.specs import CustomTask, FineTune
from orchestrator.specs.data_checks import sources
from orchestrator.specs.loading import LoadedDocument, load_document
from orchestrator.specs.overrides import FILE
from orchestrator.specs.paths import local_path

CHUNK_BYTES = 1 << 20

_ODD = re.compile(r"[^A-Za-z0-9_.+@=-]")
_CODE = "code.tar"
_STORED = re.compile(rf"\S*/\.uploads/([0-9a-f]{{64}})/({re.escape(_CODE)})?")

Told = Callable[[str, int], None]
"""Called before a file is sent: its path here (a name, where it is none) and its size."""


@dataclass(frozen=True, slots=True)
class Local:
    """What a field of the spec names on this machine."""

    path: str  # of the field
    files: Mapping[str, Path | bytes]  # by the name they are sent under
    name: str | None  # of the folder they make; None: one file
    shown: str  # how the user wrote it


@dataclass
class Sent:
    """A spec as it is sent, and how to tell of it in the user's own terms."""

    text: str
    sets: tuple[str, ...]
    document: LoadedDocument
    origins: dict[str, str] = field(default_factory=dict)  # sha256 -> where it lies here

    def localize(self, problem: Problem) -> Problem:
        """A problem of the server's with the user's own file and line."""
        if problem.path is not None and problem.file in ("<text>", FILE, None):
            found = self.document.positions.problem(problem.path, problem.message, problem.hint)
            if found.line is not None:
                return replace(found, message=self._here(found.message))
        file = problem.file
        if file == "<text>":
            file = str(self.document.path) if self.document.path is not None else None
        return replace(
            problem,
            message=self._here(problem.message),
            hint=self._here(problem.hint) if problem.hint is not None else None,
            file=self._here(file) if file is not None else None,
        )

    def _here(self, text: str) -> str:
        """Places of the server's store as the local ones that were sent there."""

        def local(match: re.Match[str]) -> str:
            origin = self.origins.get(match[1])
            if origin is None or match[2] is not None:
                return origin or match[0]  # code keeps the name of its folder
            return f"{Path(origin).parent}/".removeprefix("./")

        return _STORED.sub(local, text)


def send(source: Path | str, sets: Sequence[str], connection: Connection, told: Told) -> Sent:
    """Hands over whatever local files a spec names.

    Raises:
        InvalidInput: The spec is wrong, or names files that cannot be read.
    """
    document = load_document(source, sets=sets)
    loaded = document.loaded()
    sent = Sent(document.text, tuple(sets), document)
    problems: list[Problem] = []
    found: list[Local] = []
    for place in _places(loaded.spec):
        try:
            local = _local(loaded.spec, place, document.base_dir)
        except InvalidInput as error:
            problems.extend(map(document.positions.located, error.problems))
        else:
            found.extend([local] if local is not None else [])
    if problems:
        raise InvalidInput(problems)
    extra = []
    for local in found:
        url = _hand_over(local, connection, told, sent.origins)
        extra.append(f"{local.path}={json.dumps(url)}")
    sent.sets = (*sets, *extra)
    return sent


def _places(spec: FineTune) -> Iterator[str]:
    body = spec.spec
    if body.model is not None and body.model.base is not None:
        yield "model.base"
    if body.runtime.code is not None:
        yield "runtime.code"
    yield from (place for place, _, _, source in sources(body.data) if source.path is not None)


def _local(spec: FineTune, place: str, base_dir: Path) -> Local | None:
    """What is local of a place; None where it is a URL."""
    body = spec.spec
    if place == "model.base":
        assert body.model is not None
        folder = local_path(body.model.named, base_dir)
        if folder is None:
            return None
        return Local(place, _folder(folder, place), _plain(folder.name), body.model.named)
    if place == "runtime.code":
        assert body.runtime.code is not None
        if local_path(body.runtime.code, base_dir) is None:
            return None
        packed = read_code(body.runtime.code, base_dir=base_dir, fetch=None).archive
        return Local(place, {_CODE: packed}, None, body.runtime.code)
    source = next(source for at, _, _, source in sources(body.data) if at == place)
    assert source.path is not None
    where = local_path(source.path, base_dir)
    if where is None:
        return None
    if isinstance(body.task, CustomTask):  # its script finds files by their own names
        files: Mapping[str, Path] = paths_of(source, place, base_dir=base_dir, fetch=None)
        is_folder = where.is_dir() or len(files) > 1
    else:
        files = _named(files_of(source, place, base_dir=base_dir, fetch=None))
        is_folder = len(files) > 1
    name = _plain(place.rpartition(".")[2]) if is_folder else None
    return Local(f"{place}.path", files, name, source.path)


def _folder(folder: Path, place: str) -> Mapping[str, Path]:
    """The files of a model's folder, hidden ones left out."""
    if not folder.is_dir():
        hint = f"looked for {folder}; a hub model is written hf://org/name"
        raise InvalidInput([Problem("the folder of the base does not exist", place, hint)])
    found = {
        path.relative_to(folder).as_posix(): path
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not any(p.startswith(".") for p in path.relative_to(folder).parts)
    }
    if not found:
        raise InvalidInput([Problem(f"the folder {folder} is empty", place, None)])
    return found


def _named(files: Sequence[DataFile]) -> dict[str, Path]:
    """Names that keep the order of the files and tell their format by their ending."""
    if len(files) == 1:
        return {_with_ending(_plain(files[0].path.name), files[0]): files[0].path}
    width = len(str(len(files)))
    return {
        f"{number:0{width}}-{_with_ending(_plain(file.path.name), file)}": file.path
        for number, file in enumerate(files)
    }


def _with_ending(name: str, file: DataFile) -> str:
    suffix = ".gz" if file.is_gzip else ""
    stem = name.removesuffix(suffix) if suffix else name
    known = (f".{file.format}", ".ndjson", ".pq")
    return name if stem.endswith(known) else f"{stem}.{file.format}{suffix}"


def _plain(name: str) -> str:
    """A name that the server takes."""
    return (_ODD.sub("_", name).lstrip(".-+@=") or "files")[-150:]


def _hand_over(local: Local, connection: Connection, told: Told, origins: dict[str, str]) -> str:
    """Sends what the server has not got yet; the URL it is known by there."""
    digests = {name: _digest(content) for name, content in local.files.items()}
    if local.name is None:
        ((name, content),) = local.files.items()
        origins[digests[name]] = str(content) if isinstance(content, Path) else local.shown
        _put(connection, digests[name], name, content, told)
        return f"upload://{digests[name]}/{name}"
    listed = [
        {"path": name, "size_bytes": _size(content), "sha256": digests[name]}
        for name, content in local.files.items()
    ]
    body = json.dumps({"files": listed}, sort_keys=True, separators=(",", ":")).encode()
    sha256 = hashlib.sha256(body).hexdigest()
    origins[sha256] = local.shown
    if not _is_there(connection, sha256, local.name):
        for name, content in local.files.items():
            _put(connection, digests[name], name.rpartition("/")[2], content, told)
        headers = {"Content-Type": FOLDER_TYPE}
        connection.send(
            "PUT", f"/uploads/{sha256}/{local.name}", headers=headers, body=lambda: body
        )
    return f"upload://{sha256}/{local.name}"


def _put(connection: Connection, sha256: str, name: str, content: Path | bytes, told: Told) -> None:
    if _is_there(connection, sha256, name):
        return
    told(str(content) if isinstance(content, Path) else name, _size(content))
    headers = {"Content-Type": "application/octet-stream", "Content-Length": str(_size(content))}

    def body() -> Any:
        return content if isinstance(content, bytes) else _chunks(content)

    connection.send("PUT", f"/uploads/{sha256}/{name}", headers=headers, body=body)


def _is_there(connection: Connection, sha256: str, name: str) -> bool:
    try:
        connection.send("HEAD", f"/uploads/{sha256}/{name}")
    except NotFound:
        return False
    return True


def _digest(content: Path | bytes) -> str:
    if isinstance(content, bytes):
        return hashlib.sha256(content).hexdigest()
    with content.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _size(content: Path | bytes) -> int:
    return len(content) if isinstance(content, bytes) else content.stat().st_size


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as stream:
        while chunk := stream.read(CHUNK_BYTES):
            yield chunk
