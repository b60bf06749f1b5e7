"""Bearer tokens of an OIDC issuer: signature, issuer, audience and time are checked here.

Only asymmetric algorithms count: a token that was signed with a public key as a shared secret, or
not at all, is refused. The issuer's keys are fetched when they are first needed and kept.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import httpx
import jwt

from orchestrator.control.controller.places import is_team
from orchestrator.errors import ServerUnavailable, Unauthenticated
from orchestrator.records import Principal, Role
from orchestrator.settings import Settings

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA")
LEEWAY_SECONDS = 30.0  # clocks of issuer and server differ
FETCH_SECONDS = 5.0
KEYS_SECONDS = 3600.0  # keys are asked for again after so long
AGAIN_SECONDS = 30.0  # and, for a key that is not among them, so often at most
MAX_BYTES = 1_000_000

Fetch = Callable[[str], Mapping[str, Any]]
"""A JSON object by URL; raises ServerUnavailable."""


@dataclass(frozen=True, slots=True)
class Issuer:
    """Whose tokens are believed, and which claims say what."""

    url: str
    audience: str
    jwks_url: str | None
    name_claim: str
    team_claim: str
    role_claim: str

    @classmethod
    def of(cls, settings: Settings) -> Issuer:
        assert settings.oidc_issuer is not None
        assert settings.oidc_audience is not None
        return cls(
            settings.oidc_issuer,
            settings.oidc_audience,
            settings.oidc_jwks_url,
            settings.oidc_name_claim,
            settings.oidc_team_claim,
            settings.oidc_role_claim,
        )


def fetch_json(url: str) -> Mapping[str, Any]:
    """As `Fetch`, within a bounded time and size."""
    try:
        with httpx.stream("GET", url, timeout=FETCH_SECONDS, follow_redirects=False) as answer:
            answer.raise_for_status()
            body = b""
            for chunk in answer.iter_bytes():
                body += chunk
                if len(body) > MAX_BYTES:
                    raise ServerUnavailable(f"{url} sends more than {MAX_BYTES} bytes")
        document = httpx.Response(200, content=body).json()
    except (httpx.HTTPError, ValueError) as error:
        raise ServerUnavailable(f"{url} cannot be read: {error}") from None
    if not isinstance(document, dict):
        raise ServerUnavailable(f"{url} is no JSON object")
    return document


class OidcTokens:
    """Principals from an issuer's tokens. Thread-safe."""

    def __init__(
        self,
        issuer: Issuer,
        fetch: Fetch = fetch_json,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._issuer = issuer
        self._fetch = fetch
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._keys: dict[str, jwt.PyJWK] = {}
        self._stale_at = float("-inf")
        self._again_at = float("-inf")

    def principal(self, token: str, now: float) -> Principal:
        """Whom a token is of; raises Unauthenticated.

        Args:
            token: As it came.
            now: Seconds since the epoch.
        """
        claims = self._claims(token)
        # The library compares with its own clock; ours may be a test's.
        expires = claims["exp"]
        begins = claims.get("nbf", claims["iat"])
        if not begins - LEEWAY_SECONDS <= now < expires + LEEWAY_SECONDS:
            raise Unauthenticated("the token has expired or is not valid yet", hint="get a new one")
        return self._named(claims)

    def _claims(self, token: str) -> Mapping[str, Any]:
        try:
            header = jwt.get_unverified_header(token)
            if header.get("alg") not in ALGORITHMS:
                raise Unauthenticated("the token is not signed as this server demands")
            claims: dict[str, Any] = jwt.decode(
                token,
                self._key(str(header.get("kid", ""))),
                algorithms=list(ALGORITHMS),
                audience=self._issuer.audience,
                issuer=self._issuer.url,
                options={
                    "require": ["exp", "iat", "iss", "aud"],
                    "verify_exp": False,
                    "verify_nbf": False,
                    "verify_iat": False,
                },
            )
        except jwt.PyJWTError as error:
            raise Unauthenticated(f"the token is not valid: {error}") from None
        if not all(isinstance(claims.get(n, 0), int | float) for n in ("exp", "iat", "nbf")):
            raise Unauthenticated("the token's times are no numbers")
        return claims

    def _key(self, kid: str) -> jwt.PyJWK:
        # Who has a known key waits for nobody who makes us ask the issuer.
        if self._monotonic() < self._stale_at and (known := self._keys.get(kid)) is not None:
            return known
        with self._lock:
            now = self._monotonic()
            if (kid not in self._keys or now >= self._stale_at) and now >= self._again_at:
                self._again_at = now + AGAIN_SECONDS
                try:
                    self._keys = self._fetched()
                    self._stale_at = self._monotonic() + KEYS_SECONDS
                except ServerUnavailable:
                    if kid not in self._keys:  # else the keys of before are good enough
                        raise
            if kid not in self._keys:
                raise Unauthenticated("the issuer has no key by which this token is signed")
            return self._keys[kid]

    def _fetched(self) -> dict[str, jwt.PyJWK]:
        url = self._issuer.jwks_url
        if url is None:
            discovery = f"{self._issuer.url.rstrip('/')}/.well-known/openid-configuration"
            url = str(self._fetch(discovery).get("jwks_uri", ""))
            if not url.startswith(("https://", "http://")):
                raise ServerUnavailable(f"{discovery} names no jwks_uri")
        try:
            keys = jwt.PyJWKSet.from_dict(dict(self._fetch(url))).keys
        except jwt.PyJWTError as error:
            raise ServerUnavailable(f"{url} holds no usable keys: {error}") from None
        return {key.key_id or "": key for key in keys}

    def _named(self, claims: Mapping[str, Any]) -> Principal:
        issuer = self._issuer
        name, team = claims.get(issuer.name_claim), claims.get(issuer.team_claim)
        role = _highest(claims.get(issuer.role_claim))
        if not isinstance(name, str) or not name:
            raise Unauthenticated(f"the token has no claim {issuer.name_claim!r} with a name")
        if not isinstance(team, str) or not is_team(team):
            raise Unauthenticated(f"the token has no claim {issuer.team_claim!r} with a team")
        if role is None:
            raise Unauthenticated(f"the token has no claim {issuer.role_claim!r} with a role")
        return Principal(name=name, team=team, role=role)


def _highest(claim: object) -> Role | None:
    """Of one role or a list of them."""
    named = claim if isinstance(claim, list) else [claim]
    roles = [role for role in Role if str(role) in named]
    return max(roles, key=lambda role: role.rank, default=None)
