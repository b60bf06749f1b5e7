"""Who asks: a bearer token of ours, one of an OIDC issuer, or anybody where that is allowed.

Built by `server`, called by `guard` with every request.
"""

from __future__ import annotations

import hashlib
import ipaddress
import secrets
from collections.abc import Callable
from typing import Protocol

from orchestrator.control.controller.places import LOCAL_TEAM
from orchestrator.control.store import Tokens
from orchestrator.errors import SettingsError, Unauthenticated
from orchestrator.interfaces.api.oidc import Issuer, OidcTokens
from orchestrator.records import AccessToken, Principal, Role
from orchestrator.records.ids import ulid
from orchestrator.settings import Settings

PREFIX = "orc_"
LOCAL = Principal(name="local", team=LOCAL_TEAM, role=Role.ADMIN)
"""Whoever asks a server that knows nobody."""


class Authenticator(Protocol):
    """Tells who asks."""

    def principal(
        self, authorization: str | None, host: str, origin: str | None = None
    ) -> Principal:
        """Whom a request is from; raises Unauthenticated.

        Args:
            authorization: The header of that name.
            host: The header of that name: what the client believes to speak to.
            origin: The header of that name: the site whose page a browser asks for.
        """
        ...


class TokenAuthenticator:
    """Tokens of ours, and those of an issuer where there is one."""

    def __init__(
        self, tokens: Tokens, clock: Callable[[], float], oidc: OidcTokens | None = None
    ) -> None:
        self._tokens = tokens
        self._clock = clock
        self._oidc = oidc

    def principal(
        self, authorization: str | None, host: str, origin: str | None = None
    ) -> Principal:
        token = bearer(authorization)
        if token is None:
            raise Unauthenticated("a bearer token is needed", hint="orchestrator login")
        if self._oidc is not None and not token.startswith(PREFIX):
            return self._oidc.principal(token, self._clock())
        found = self._tokens.principal_of(digest_of(token), self._clock())
        if found is None:
            raise Unauthenticated(
                "the token is unknown, revoked or has expired", hint="orchestrator login"
            )
        return found


class Nobody:
    """Everybody is an admin: for a server that only this machine can reach."""

    def principal(
        self, authorization: str | None, host: str, origin: str | None = None
    ) -> Principal:
        # A page of another site could make a browser ask here, under a name of its own,
        if not is_loopback(_name_of(host)):
            raise Unauthenticated(f"this server answers on loopback only, not as {host!r}")
        # or under ours, without seeing the answer: cancelling a job needs none.
        if origin is not None and origin.partition("://")[2] != host:
            raise Unauthenticated(f"this server answers no page of {origin!r}")
        return LOCAL


def authenticator_for(
    settings: Settings, host: str, tokens: Tokens, clock: Callable[[], float]
) -> Authenticator:
    """As the settings have it.

    Args:
        settings: The operator's.
        host: The address the server binds.
        tokens: Those of the database.
        clock: Seconds since the epoch.

    Raises:
        SettingsError: Nobody would be asked who they are, and others could reach the server.
    """
    if settings.authentication == "off":
        if not is_loopback(host):
            raise SettingsError(
                f"authentication is off, and {host} can be reached from elsewhere",
                hint="bind 127.0.0.1, or set authentication to tokens",
            )
        return Nobody()
    oidc = None
    if settings.oidc_issuer is not None:
        if settings.oidc_audience is None:
            raise SettingsError("oidc_issuer is set without oidc_audience", hint="set both")
        oidc = OidcTokens(Issuer.of(settings))
    return TokenAuthenticator(tokens, clock, oidc)


def new_token(
    principal: AccessToken, *, randomness: Callable[[int], bytes] = secrets.token_bytes
) -> tuple[AccessToken, str]:
    """`principal` with an id, and its secret."""
    secret = PREFIX + _urlsafe(randomness(32))
    named = principal.model_copy(update={"id": f"tok-{ulid(principal.created_at, randomness(10))}"})
    return named, secret


def digest_of(secret: str) -> str:
    """What is kept of a secret: sha256, hex."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def bearer(authorization: str | None) -> str | None:
    """The token of an Authorization header, if it has one."""
    scheme, _, token = (authorization or "").partition(" ")
    token = token.strip()
    return token if scheme.lower() == "bearer" and token else None


def is_loopback(host: str) -> bool:
    """Whether only this machine can be meant."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _name_of(host: str) -> str:
    """`[::1]:8642` -> `::1`, `localhost:8642` -> `localhost`."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]


def _urlsafe(data: bytes) -> str:
    import base64

    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
