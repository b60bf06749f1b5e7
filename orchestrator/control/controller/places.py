"""What a submitted spec may name, and where that lies.

A server reads no local path that a client names, and only object stores its team may use. Called by
`submission` before anything of the spec is read; what is refused here is never looked at.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from orchestrator.errors import Problem, UserError
from orchestrator.settings import Settings
from orchestrator.specs import FineTune
from orchestrator.specs.base import is_dns_label
from orchestrator.specs.data import SPLITS
from orchestrator.specs.loading import LoadedDocument
from orchestrator.specs.location_checks import OBJECT_STORES, scheme_of
from orchestrator.storage.locations import Location, parse_location

LOCAL_TEAM = "local"
"""Team of whoever asks a server that knows nobody: its store is the server's own."""

UPLOAD = "upload"
NOWHERE = Path("/nonexistent")
TEAM = "{team}"

# Not a name alone: `json` and its like read the files of the folder the server runs in.
_HUB_NAME = re.compile(r"^[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*$")
_SUBMIT = "`orchestrator submit` uploads it; or name an object store"

FindUpload = Callable[[str, str], str | None]
"""(sha256, name) -> where it lies; None where it was not uploaded."""


@dataclass(frozen=True, slots=True)
class TeamPlaces:
    """Where a team's bytes are and may be."""

    store: str  # URL or folder of what it publishes
    allowed: tuple[str, ...]  # prefixes of object stores


def places_of(settings: Settings, team: str) -> TeamPlaces:
    """A team's own store, and the object stores it may name.

    Teams share no store: `{team}` in the setting stands for the team, else each has a folder of its
    own in the server's store.
    """
    assert is_team(team) or team == LOCAL_TEAM, f"{team!r} would be a part of a path"
    store = settings.store.replace(TEAM, team)
    if store == settings.store and team != LOCAL_TEAM:
        store = f"{store.rstrip('/')}/.teams/{team}"
    named = tuple(url.replace(TEAM, team) for url in settings.allowed_urls)
    own = (store,) if scheme_of(store) in OBJECT_STORES else ()
    return TeamPlaces(store, (*own, *named))


def is_team(name: str) -> bool:
    """Whether users may be of it: the team of whoever needs no token is nobody else's."""
    return is_dns_label(name) and name != LOCAL_TEAM


def relocated(
    document: LoadedDocument, places: TeamPlaces, find: FindUpload
) -> tuple[LoadedDocument, list[Problem]]:
    """The document with uploads where they lie, and what it may not name.

    Relative paths of it lead nowhere: its folder is one that does not exist.
    """
    nowhere = replace(document, base_dir=NOWHERE)
    if document.usable is None:
        return nowhere, []
    spec, problems = _moved(document.usable, places, find)
    return replace(nowhere, usable=spec), [document.positions.located(p) for p in problems]


def _moved(spec: FineTune, places: TeamPlaces, find: FindUpload) -> tuple[FineTune, list[Problem]]:
    moved: dict[str, Any] = spec.model_dump(mode="json", exclude_none=True)
    body = moved["spec"]
    problems = []
    for path, holder, field in _named(body):
        try:
            holder[field] = _place(path, holder[field], places, find)
        except _Refused as refused:
            problems.append(refused.problem)
            if field != "hub":
                holder[field] = str(NOWHERE)  # said once: the checks of the spec need not object
    return FineTune.model_validate(moved), problems


def _named(body: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any], str]]:
    """Every field that names a place: its path, and where it is written."""
    if "model" in body:
        yield "model.base", body["model"], "base"
    if "code" in body["runtime"]:
        yield "runtime.code", body["runtime"], "code"
    for name, domain in body["data"]["domains"].items():
        for split in SPLITS:
            for index, source in enumerate(domain.get(split, ())):
                field = "path" if "path" in source else "hub"
                yield f"data.domains.{name}.{split}[{index}].{field}", source, field
    if "store" in body["output"]:
        yield "output.store", body["output"], "store"


def may_lead_to(base: str, places: TeamPlaces) -> bool:
    """Whether an adapter of the team may have this base.

    Its lineage names it, and whoever may write to a store may have written that.
    """
    scheme = scheme_of(base)
    if scheme in OBJECT_STORES:
        try:
            _check_allowed("model.base", base, places.allowed)
        except _Refused:
            return False
        return True
    if scheme in (None, "file"):
        own = Path(places.store.removeprefix("file://"))
        named = Path(base.removeprefix("file://"))
        return scheme_of(places.store) in (None, "file") and _lies_in(named, own)
    return True


def _lies_in(path: Path, folder: Path) -> bool:
    """After every link: an upload of the team, say."""
    return path.resolve().is_relative_to(folder.resolve())


class _Refused(Exception):
    def __init__(self, path: str, message: str, hint: str) -> None:
        super().__init__(message)
        self.problem = Problem(message, path=path, hint=hint)


def _place(path: str, written: str, places: TeamPlaces, find: FindUpload) -> str:
    """Where a field leads to; raises _Refused."""
    if path.endswith(".hub"):
        return _hub(path, written)
    scheme = scheme_of(written)
    if scheme in (None, "file"):
        if path == "output.store":
            hint = "leave it out: models go to the server's store"
            raise _Refused(path, "a server writes to no local folder", hint)
        raise _Refused(path, "a server reads no local path", _SUBMIT)
    if scheme == UPLOAD:
        return _upload(path, written, find)
    if scheme in OBJECT_STORES:
        _check_allowed(path, written, places.allowed)
    return written


def _hub(path: str, written: str) -> str:
    # The library takes a folder of this machine for a hub's data set of the same name.
    if not _HUB_NAME.match(written) or Path(written).exists():
        raise _Refused(path, f"{written!r} is no hub data set", "write org/name")
    return written


def _upload(path: str, written: str, find: FindUpload) -> str:
    sha256, _, name = written.partition("://")[2].partition("/")
    if path == "output.store":
        raise _Refused(path, "nothing can be published there", "leave it out")
    try:
        found = find(sha256, name)
    except UserError as error:
        raise _Refused(path, error.message, error.hint or _SUBMIT) from None
    if found is None:
        raise _Refused(path, f"{name} was not uploaded", "`orchestrator submit` uploads it")
    return found


def _check_allowed(path: str, url: str, prefixes: tuple[str, ...]) -> None:
    try:
        location = parse_location(url)
    except UserError as error:
        raise _Refused(path, error.message, error.hint or _SUBMIT) from None
    if not any(_is_within(location, parse_location(prefix)) for prefix in prefixes):
        known = ", ".join(prefixes) or "no object store"
        hint = f"this team may use {known}; the server's setting allowed_urls names more"
        raise _Refused(path, "this place is not open to this team", hint)


def _is_within(location: Location, allowed: Location) -> bool:
    """Whether it lies below, by whole parts, and not in what the system keeps there itself."""
    if (location.scheme, location.bucket) != (allowed.scheme, allowed.bucket):
        return False
    parts, limits = _parts(location), _parts(allowed)
    below = parts[len(limits) :]
    return parts[: len(limits)] == limits and not any(part.startswith(".") for part in below)


def _parts(location: Location) -> list[str]:
    return location.prefix.split("/") if location.prefix else []
