from __future__ import annotations

import base64
import hmac
import json
import threading
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from orchestrator.errors import ServerUnavailable, SettingsError, Unauthenticated
from orchestrator.interfaces.api.authentication import TokenAuthenticator, authenticator_for
from orchestrator.interfaces.api.oidc import Issuer, OidcTokens
from orchestrator.records import Principal, Role
from orchestrator.settings import load_settings
from tests.interfaces.api.builders import Place

URL = "https://issuer.example/realm"
JWKS = "https://issuer.example/keys"
ISSUER = Issuer(URL, "orchestrator", None, "sub", "team", "role")
NOW = 1_800_000_000.0
KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
CURVE = ec.generate_private_key(ec.SECP256R1())
OTHER = rsa.generate_private_key(public_exponent=65537, key_size=2048)
CLAIMS: dict[str, Any] = {
    "iss": URL,
    "aud": "orchestrator",
    "sub": "ada",
    "team": "vision",
    "role": "lead",
    "iat": NOW - 10,
    "exp": NOW + 300,
}


def public(key: Any, kid: str, algorithm: str) -> dict[str, Any]:
    kind = jwt.algorithms.RSAAlgorithm if algorithm.startswith("RS") else jwt.algorithms.ECAlgorithm
    jwk: dict[str, Any] = kind.to_jwk(key.public_key(), as_dict=True)
    return {**jwk, "kid": kid, "use": "sig", "alg": algorithm}


class Web:
    """What the issuer serves, and how often it was asked."""

    def __init__(self) -> None:
        self.keys = [public(KEY, "one", "RS256"), public(CURVE, "two", "ES256")]
        self.asked: list[str] = []
        self.is_away = False
        self.time = 0.0

    def fetch(self, url: str) -> Mapping[str, Any]:
        self.asked.append(url)
        if self.is_away:
            raise ServerUnavailable(f"{url} cannot be read")
        if url == f"{URL}/.well-known/openid-configuration":
            return {"jwks_uri": JWKS}
        assert url == JWKS
        return {"keys": self.keys}

    def tokens(self, issuer: Issuer = ISSUER) -> OidcTokens:
        return OidcTokens(issuer, self.fetch, lambda: self.time)


def token(key: Any = KEY, kid: str = "one", algorithm: str = "RS256", **changed: Any) -> str:
    claims = {name: v for name, v in {**CLAIMS, **changed}.items() if v is not None}
    return jwt.encode(claims, key, algorithm=algorithm, headers={"kid": kid})


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (token(), Principal(name="ada", team="vision", role=Role.LEAD)),
        (
            token(CURVE, "two", "ES256", role=["viewer", "submitter", "other"]),
            Principal(name="ada", team="vision", role=Role.SUBMITTER),
        ),
        (token(exp=NOW - 5), Principal(name="ada", team="vision", role=Role.LEAD)),  # clocks differ
        (
            token(aud=["other", "orchestrator"]),
            Principal(name="ada", team="vision", role=Role.LEAD),
        ),
    ],
)
def test_a_token_of_the_issuer_names_a_principal(said: str, expected: Principal) -> None:
    assert Web().tokens().principal(said, NOW) == expected


PEM = KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def by_hand(header: dict[str, Any], secret: bytes) -> str:
    """What no library signs: HMAC with whatever bytes."""

    def part(data: bytes) -> str:
        return base64.urlsafe_b64encode(data).rstrip(b"=").decode()

    signed = ".".join(part(json.dumps(said).encode()) for said in (header, CLAIMS))
    return f"{signed}.{part(hmac.digest(secret, signed.encode(), 'sha256'))}"


def with_header(**header: Any) -> str:
    """Signed by another key than the issuer's, which the header offers to use."""
    return jwt.encode(CLAIMS, OTHER, algorithm="RS256", headers={"kid": "one", **header})


@pytest.mark.parametrize(
    "said",
    [
        pytest.param(token(exp=NOW - 60), id="expired"),
        pytest.param(token(nbf=NOW + 60), id="not yet"),
        pytest.param(token(iss="https://evil.example"), id="another issuer"),
        pytest.param(token(aud="other"), id="for others"),
        pytest.param(token(aud=None), id="for nobody"),
        pytest.param(token(exp=None), id="for ever"),
        pytest.param(token(OTHER), id="signed by another key"),
        pytest.param(token(KEY, kid="three"), id="unknown key"),
        pytest.param(token(team=None), id="no team"),
        pytest.param(token(team="local"), id="the team of nobody"),
        pytest.param(token(team="../vision"), id="a team that is a path"),
        pytest.param(token(team=["vision"]), id="teams"),
        pytest.param(token(role="root"), id="an unknown role"),
        pytest.param(token(role=None), id="no role"),
        pytest.param(token(sub=None), id="no name"),
        pytest.param(jwt.encode(CLAIMS, None, algorithm="none"), id="not signed"),
        pytest.param(
            jwt.encode(CLAIMS, "x" * 32, algorithm="HS256", headers={"kid": "one"}), id="shared key"
        ),
        pytest.param(by_hand({"alg": "HS256", "kid": "one"}, PEM), id="public key as a secret"),
        pytest.param(by_hand({"alg": "hs256", "kid": "one"}, PEM), id="in other letters"),
        pytest.param(by_hand({"alg": "RS256", "kid": "one"}, PEM), id="HMAC called RSA"),
        pytest.param(by_hand({"alg": "None", "kid": "one"}, b""), id="None"),
        pytest.param(by_hand({"kid": "one"}, PEM), id="no algorithm"),
        pytest.param(token().rpartition(".")[0] + ".", id="signature cut off"),
        pytest.param(with_header(jwk=public(OTHER, "one", "RS256")), id="brings its own key"),
        pytest.param(with_header(jku="https://evil.example/keys"), id="names its own keys"),
        pytest.param(token(CURVE, "one", "ES256"), id="another kind of key"),
        pytest.param(token(exp=True), id="a time that is none"),
        pytest.param("a.b.c", id="no token"),
        pytest.param("", id="nothing"),
        pytest.param("é.é.é", id="no ascii"),
    ],
)
def test_other_tokens_are_refused(said: str) -> None:
    with pytest.raises(Unauthenticated):
        Web().tokens().principal(said, NOW)


def test_keys_are_fetched_once_and_again_when_they_are_old() -> None:
    web = Web()
    tokens = web.tokens()
    for _ in range(3):
        tokens.principal(token(), NOW)
    assert web.asked == [f"{URL}/.well-known/openid-configuration", JWKS]
    web.time = 3700.0
    tokens.principal(token(), NOW)
    assert len(web.asked) == 4


def test_unknown_keys_do_not_make_us_ask_for_ever() -> None:
    web = Web()
    tokens = web.tokens(replace(ISSUER, jwks_url=JWKS))
    for _ in range(5):
        with pytest.raises(Unauthenticated):
            tokens.principal(token(kid="three"), NOW)
    assert web.asked == [JWKS]
    web.keys.append(public(OTHER, "three", "RS256"))  # the issuer has a new one
    web.time = 31.0
    assert tokens.principal(token(OTHER, "three"), NOW).name == "ada"


def test_a_key_that_the_issuer_has_taken_back_opens_nothing() -> None:
    web = Web()
    tokens = web.tokens()
    assert tokens.principal(token(), NOW).name == "ada"
    web.keys = [public(OTHER, "three", "RS256")]
    web.time = 3700.0  # keys are asked for again after an hour
    assert tokens.principal(token(OTHER, "three"), NOW).name == "ada"
    with pytest.raises(Unauthenticated, match="no key"):
        tokens.principal(token(), NOW)


def test_who_has_a_known_key_waits_for_nobody() -> None:
    """A token with a made-up key asks the issuer, who takes his time."""
    web, asked, go_on = Web(), threading.Event(), threading.Event()

    def slowly(url: str) -> Mapping[str, Any]:
        asked.set()
        assert go_on.wait(20)
        return web.fetch(url)

    tokens = OidcTokens(replace(ISSUER, jwks_url=JWKS), web.fetch, lambda: web.time)
    tokens.principal(token(), NOW)
    web.time = 60.0
    tokens._fetch = slowly
    other = threading.Thread(target=lambda: _refused(tokens, token(kid="three")))
    other.start()
    assert asked.wait(20)
    assert tokens.principal(token(), NOW).name == "ada"
    go_on.set()
    other.join(20)


def _refused(tokens: OidcTokens, said: str) -> None:
    with pytest.raises(Unauthenticated):
        tokens.principal(said, NOW)


def test_keys_outlive_an_issuer_that_is_away() -> None:
    web = Web()
    tokens = web.tokens()
    tokens.principal(token(), NOW)
    web.is_away, web.time = True, 3700.0
    assert tokens.principal(token(), NOW).name == "ada"
    web = Web()
    web.is_away = True
    with pytest.raises(ServerUnavailable):
        web.tokens().principal(token(), NOW)


def test_both_kinds_of_tokens_are_taken(place: Place) -> None:
    both = TokenAuthenticator(place.service.tokens, lambda: NOW, Web().tokens())
    assert both.principal(f"Bearer {token()}", "").name == "ada"
    assert both.principal(f"Bearer {place.token(name='bob')}", "").name == "bob"
    ours_alone = TokenAuthenticator(place.service.tokens, lambda: NOW)
    with pytest.raises(Unauthenticated):
        ours_alone.principal(f"Bearer {token()}", "")


def test_an_issuer_without_an_audience_is_no_setting(place: Place) -> None:
    flags = {"oidc_issuer": URL}
    settings = load_settings(flags, environ={"HOME": str(place.folder)}, directory=place.folder)
    with pytest.raises(SettingsError, match="oidc_audience"):
        authenticator_for(settings, "0.0.0.0", place.service.tokens, place.clock)
