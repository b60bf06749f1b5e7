"""Which server is asked, and with what token: said, in the environment, or kept by `login`."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from orchestrator.errors import SettingsError

URL_VARIABLE = "ORCHESTRATOR_URL"
TOKEN_VARIABLE = "ORCHESTRATOR_TOKEN"
DEFAULT_URL = "http://127.0.0.1:8642"
"""Where `orchestrator serve` listens on this machine unless it is told otherwise."""


@dataclass(frozen=True, slots=True)
class Login:
    """A server, and who one is to it."""

    url: str
    token: str | None = None


def find_login(
    url: str | None = None, token: str | None = None, *, environ: Mapping[str, str] | None = None
) -> Login:
    """What is said, else the environment's, else what `login` kept, else this machine's server.

    A token is never sent to another server than the one it was kept for.
    """
    environ = os.environ if environ is None else environ
    kept = kept_login(environ)
    asked = checked_url(
        url or environ.get(URL_VARIABLE) or (kept.url if kept is not None else DEFAULT_URL)
    )
    known = kept.token if kept is not None and kept.url == asked else None
    used = token or environ.get(TOKEN_VARIABLE) or known
    if used is not None:
        check_token(used)
    return Login(asked, used)


def check_token(token: str) -> None:
    """Raises SettingsError for what no header can carry; the token is not repeated."""
    if not token.isascii() or not token.isprintable() or " " in token:
        raise SettingsError(
            "this is no token: it has spaces or signs beyond ASCII",
            hint="copy it whole, and nothing around it",
        )


def checked_url(url: str) -> str:
    """The URL without a slash at its end; raises SettingsError for what cannot be asked."""
    try:
        parts = urlsplit(url)
        host, _ = (parts.hostname or "").encode("idna"), parts.port
    except ValueError as error:  # of a port, of brackets, of a name
        raise SettingsError(f"{url!r} is no server: {error}") from None
    if parts.scheme not in ("http", "https") or not host:
        raise SettingsError(f"{url!r} is no server", hint="write http://… or https://…")
    if parts.username is not None:
        raise SettingsError("a server's URL holds no user", hint="log in with a token instead")
    return url.rstrip("/")


def login_file(environ: Mapping[str, str]) -> Path:
    home = Path(environ.get("HOME") or Path.home())
    return Path(environ.get("XDG_CONFIG_HOME") or home / ".config") / "orchestrator/login.json"


def kept_login(environ: Mapping[str, str]) -> Login | None:
    """What `login` kept; None where there is nothing."""
    file = login_file(environ)
    try:
        kept = json.loads(file.read_text(encoding="utf-8"))
        return Login(str(kept["url"]), kept.get("token"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise SettingsError(f"{file} cannot be read: {error}", hint="orchestrator login") from None


def keep_login(login: Login, environ: Mapping[str, str]) -> Path:
    """Keeps it for this user alone; where."""
    file = login_file(environ)
    part = file.with_name(f".{file.name}.{os.getpid()}.part")
    try:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        # Readable by nobody else from its first byte on, whatever was there before.
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            json.dump({"url": login.url, "token": login.token}, stream)
        part.replace(file)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise SettingsError(f"{file} cannot be written: {error.strerror}") from None
    return file


def forget_login(environ: Mapping[str, str]) -> bool:
    """Deletes what was kept; whether there was anything."""
    file = login_file(environ)
    try:
        file.unlink()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise SettingsError(f"{file} cannot be deleted: {error.strerror}") from None
    return True
