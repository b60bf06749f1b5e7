from __future__ import annotations

from typing import Any

import pytest

from orchestrator.control.store import Database, Tokens
from orchestrator.errors import Conflict
from orchestrator.records import AccessToken, Principal, Role
from tests.control.store.builders import SECRET, TIME


@pytest.fixture
def tokens(database: Database) -> Tokens:
    return Tokens(database)


def a_token(id: str = "tok-1", **fields: Any) -> AccessToken:
    given: dict[str, Any] = {
        "name": "ada",
        "team": "vision",
        "role": Role.LEAD,
        "created_at": TIME,
        "created_by": "root",
    }
    return AccessToken(id=id, **{**given, **fields})


ADA = Principal(name="ada", team="vision", role=Role.LEAD)

CASES = [
    pytest.param({}, SECRET, ADA, id="good"),
    pytest.param({}, "bb" * 32, None, id="unknown secret"),
    pytest.param({"expires_at": TIME + 100}, SECRET, None, id="expires now"),
    pytest.param({"expires_at": TIME + 100.5}, SECRET, ADA, id="expires later"),
    pytest.param({"revoked_at": TIME}, SECRET, None, id="revoked"),
]


@pytest.mark.parametrize(("fields", "secret", "expected"), CASES)
def test_whose_secret_it_is(
    tokens: Tokens, fields: dict[str, Any], secret: str, expected: Principal | None
) -> None:
    tokens.create(a_token(**fields), SECRET)

    assert tokens.principal_of(secret, TIME + 100) == expected


def test_its_use_is_noted_once_a_minute(tokens: Tokens) -> None:
    tokens.create(a_token(), SECRET)
    noted = []
    for after in (0, 59, 60, 61):
        tokens.principal_of(SECRET, TIME + after)
        noted += [token.used_at for token in tokens.list()]

    assert noted == [TIME, TIME, TIME + 60, TIME + 60]


def test_a_revoked_token_opens_nothing(tokens: Tokens) -> None:
    tokens.create(a_token(), SECRET)

    assert tokens.revoke("tok-1", TIME + 5) is True
    assert tokens.principal_of(SECRET, TIME + 5) is None
    assert tokens.revoke("tok-1", TIME + 6) is False
    assert tokens.revoke("absent", TIME) is False
    assert tokens.list() == [a_token(revoked_at=TIME + 5)]


def test_tokens_are_listed_by_team(tokens: Tokens) -> None:
    one, two = a_token(), a_token("tok-2", team="speech", role=Role.VIEWER, expires_at=TIME + 1)
    tokens.create(two, "bb" * 32)
    tokens.create(one, SECRET)

    assert tokens.list() == [one, two]
    assert tokens.list("speech") == [two]
    assert tokens.list("absent") == []


@pytest.mark.parametrize(("id", "secret"), [("tok-1", "bb" * 32), ("tok-2", SECRET)])
def test_ids_and_secrets_are_taken_once(tokens: Tokens, id: str, secret: str) -> None:
    tokens.create(a_token(), SECRET)

    with pytest.raises(Conflict):
        tokens.create(a_token(id), secret)
