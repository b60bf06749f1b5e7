"""Store URLs: what a user may write for a place that keeps bytes, read once and checked.

`open_store` and the cache call it. Credentials are refused here, so that no URL that is shown,
logged or kept in a lineage can carry one.
"""

from __future__ import annotations

import difflib
import os
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal
from urllib.parse import unquote, urlsplit

from orchestrator.errors import UserError

Scheme = Literal["file", "memory", "s3", "gs", "az"]

_REMOTE: dict[str, Scheme] = {"s3": "s3", "gs": "gs", "az": "az", "memory": "memory"}
_KNOWN = ("file", *_REMOTE)
_SCHEME = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]*)://")
_TORN_SCHEME = re.compile(rf"^({'|'.join(_KNOWN)}):", re.IGNORECASE)
_FORMS = "a folder, file:///folder, s3://bucket/prefix, gs://bucket/prefix or az://container/prefix"


@dataclass(frozen=True, slots=True)
class Location:
    """Where a store lies. `root` is set for folders; `bucket` for everything else."""

    scheme: Scheme
    bucket: str = ""
    root: Path | None = None
    prefix: str = ""  # keys below the bucket or root; no slash at either end

    @property
    def url(self) -> str:
        """Folders are shown as their absolute path: what a person can paste anywhere."""
        if self.root is not None:
            return str(self.root / self.prefix) if self.prefix else str(self.root)
        base = f"{self.scheme}://{self.bucket}"
        return f"{base}/{self.prefix}" if self.prefix else base

    def child(self, prefix: str) -> Location:
        return replace(self, prefix=join_key(self.prefix, prefix))


def join_key(*parts: str) -> str:
    """Joins key parts and refuses what could leave the prefix or name two things alike."""
    key = "/".join(part for part in parts if part)
    if key and any(segment in ("", ".", "..") for segment in key.split("/")):
        raise UserError(f"{key!r} is not a name inside a store", hint="no empty, . or .. parts")
    return key


def parse_location(url: str) -> Location:
    """Reads a store URL or folder path. Relative folders are taken from the working directory."""
    text = os.fspath(url).strip()
    if not text:
        raise UserError("the store's URL is empty", hint=f"write {_FORMS}")
    scheme = _SCHEME.match(text)
    if scheme is None:
        return _folder(text)
    _refuse_credentials(text, scheme.group(1).lower())
    name = scheme.group(1).lower()
    if name == "file":
        return _file_url(text)
    if name not in _REMOTE:
        raise UserError(f"{name}:// is not a store this project can reach", hint=_advice(name))
    return _remote(text, _REMOTE[name])


def _folder(text: str) -> Location:
    torn = _TORN_SCHEME.match(text)
    if torn is not None:
        raise UserError(
            f"{text!r} looks like a URL but has no '//'",
            hint=f"write {torn.group(1).lower()}://…, or ./{text} for a folder of that name",
        )
    return Location("file", root=Path(os.path.abspath(Path(text).expanduser())))  # noqa: PTH100


def _file_url(text: str) -> Location:
    parts = urlsplit(text)
    if parts.netloc not in ("", "localhost"):
        raise UserError(
            f"{text!r} names a host, a file URL has three slashes",
            hint=f"write file:///{parts.netloc}{parts.path}",
        )
    if not parts.path.startswith("/"):
        raise UserError(f"{text!r} has no path", hint="write file:///folder")
    return Location("file", root=Path(os.path.normpath(unquote(parts.path))))


def _remote(text: str, scheme: Scheme) -> Location:
    bucket, _, prefix = text.split("://", 1)[1].partition("/")
    noun = "container" if scheme == "az" else "bucket"
    if not bucket and scheme != "memory":
        raise UserError(f"{text!r} names no {noun}", hint=f"write {scheme}://{noun}/prefix")
    if ":" in bucket:
        raise UserError(
            f"the {scheme}:// URL has a port where the {noun} belongs",
            hint="the endpoint is set in the environment (AWS_ENDPOINT_URL), not in the URL",
        )
    return Location(scheme, bucket=bucket, prefix=join_key(prefix.rstrip("/")))


def _refuse_credentials(text: str, scheme: str) -> None:
    """Never repeats the URL: what is refused may be a secret (and a secret may hold a slash)."""
    rest = text.split("://", 1)[1]
    authority = rest.partition("/")[0]
    if "@" in authority or (":" in authority and "@" in rest):
        raise UserError(
            f"the {scheme}:// URL carries a user name or password",
            hint="leave out everything up to the @; credentials come from the environment",
        )
    if "?" in rest or "#" in rest:
        raise UserError(
            f"the {scheme}:// URL carries a query or fragment",
            hint="write only the location; credentials come from the environment",
        )


def _advice(scheme: str) -> str:
    if scheme in ("http", "https"):
        return "write s3://bucket/prefix and set AWS_ENDPOINT_URL to this address"
    aliases = {"gcs": "gs", "azure": "az", "abfs": "az", "abfss": "az", "s3a": "s3", "s3n": "s3"}
    close = difflib.get_close_matches(scheme, _KNOWN, n=1)
    if scheme in aliases or close:
        return f"write {aliases.get(scheme) or close[0]}://"
    return f"write {_FORMS}"
