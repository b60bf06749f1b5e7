from __future__ import annotations

import stat
from pathlib import Path

import pytest

from orchestrator.errors import SettingsError
from orchestrator.interfaces.client.login import (
    DEFAULT_URL,
    Login,
    find_login,
    forget_login,
    keep_login,
    login_file,
)

KEPT = Login("https://kept.example", "orc_kept")


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return {"HOME": str(tmp_path)}


def test_without_anything_it_is_this_machines_server(environ: dict[str, str]) -> None:
    assert find_login(environ=environ) == Login(DEFAULT_URL, None)


@pytest.mark.parametrize(
    ("said", "variables", "expected"),
    [
        ({}, {}, KEPT),
        ({"url": "https://kept.example/"}, {}, KEPT),
        ({"url": "https://other.example"}, {}, Login("https://other.example", None)),
        ({}, {"ORCHESTRATOR_URL": "https://other.example"}, Login("https://other.example", None)),
        ({}, {"ORCHESTRATOR_TOKEN": "orc_env"}, Login("https://kept.example", "orc_env")),
        (
            {"url": "http://said", "token": "orc_said"},
            {"ORCHESTRATOR_URL": "http://env", "ORCHESTRATOR_TOKEN": "orc_env"},
            Login("http://said", "orc_said"),
        ),
    ],
)
def test_said_beats_environment_beats_kept(
    environ: dict[str, str], said: dict[str, str], variables: dict[str, str], expected: Login
) -> None:
    """And the token of one server is never sent to another."""
    keep_login(KEPT, environ)
    assert find_login(**said, environ={**environ, **variables}) == expected


def test_a_kept_token_is_nobody_elses_to_read(environ: dict[str, str]) -> None:
    file = login_file(environ)
    file.parent.mkdir(parents=True)
    file.write_text("{}")
    file.chmod(0o644)
    assert keep_login(KEPT, environ) == file
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [path.name for path in file.parent.iterdir()] == ["login.json"]


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"token": "x"}', "null"])
def test_a_damaged_login_is_told(environ: dict[str, str], text: str) -> None:
    file = login_file(environ)
    file.parent.mkdir(parents=True)
    file.write_text(text)
    with pytest.raises(SettingsError, match="orchestrator login"):
        find_login(environ=environ)


@pytest.mark.parametrize("url", ["ftp://x", "server.example", "file:///etc"])
def test_what_is_no_server_is_refused(environ: dict[str, str], url: str) -> None:
    with pytest.raises(SettingsError, match="is no server"):
        find_login(url, environ=environ)


@pytest.mark.parametrize(
    "url", ["http://", "http://exa..mple", "http://a:99999", "http://[x", "http://ada:pw@server"]
)
def test_what_cannot_be_asked_is_refused_at_once(environ: dict[str, str], url: str) -> None:
    with pytest.raises(SettingsError):
        find_login(url, environ=environ)


@pytest.mark.parametrize("token", ["tökén", "two words", "line\nbreak"])
def test_a_token_that_no_header_carries_is_not_repeated(
    environ: dict[str, str], token: str
) -> None:
    with pytest.raises(SettingsError, match="this is no token") as caught:
        find_login(token=token, environ=environ)
    assert token not in str(caught.value)


def test_logging_out_deletes_what_was_kept(environ: dict[str, str]) -> None:
    keep_login(KEPT, environ)
    assert forget_login(environ) is True
    assert find_login(environ=environ) == Login(DEFAULT_URL, None)
    assert forget_login(environ) is False
