from __future__ import annotations

import json
from collections.abc import Iterator

import httpx
import pytest

from orchestrator.control.controller.inbox import AttemptInbox, Inboxes
from orchestrator.errors import SettingsError
from orchestrator.interfaces.api.app import REPORTS_PATH, create_app
from orchestrator.interfaces.api.serving import ApiServer
from orchestrator.records import Action, Phase
from tests.control.builders import JOB, report

TOKEN = "t" * 43


@pytest.fixture
def inboxes() -> Inboxes:
    return Inboxes()


@pytest.fixture
def inbox(inboxes: Inboxes) -> AttemptInbox:
    return inboxes.open(JOB, 1, TOKEN)


@pytest.fixture
def client(inboxes: Inboxes) -> Iterator[httpx.Client]:
    """A client of the real server, with the Attempt's token."""
    headers = {"Authorization": f"Bearer {TOKEN}"}
    with (
        ApiServer(create_app(inboxes), "127.0.0.1") as server,
        httpx.Client(base_url=server.url, headers=headers, trust_env=False) as client,
    ):
        yield client


def test_a_report_arrives_and_is_answered(client: httpx.Client, inbox: AttemptInbox) -> None:
    sent = report(1, Phase.TRAIN, step=3, metrics={"loss": 0.5})
    answer = client.post(REPORTS_PATH, content=sent.model_dump_json())
    assert (answer.status_code, answer.json()) == (200, {"format": 1, "action": "continue"})
    assert inbox.take() == [sent]
    inbox.answer_with(Action.SAVE_AND_STOP)
    answer = client.post(REPORTS_PATH, content=report(2).model_dump_json())
    assert answer.json()["action"] == "save_and_stop"


def test_a_repeated_report_counts_once(client: httpx.Client, inbox: AttemptInbox) -> None:
    body = report(1).model_dump_json()
    assert [client.post(REPORTS_PATH, content=body).status_code for _ in range(3)] == [200] * 3
    assert len(inbox.take()) == 1


def test_fields_of_a_newer_worker_are_ignored(client: httpx.Client, inbox: AttemptInbox) -> None:
    document = {**json.loads(report(1).model_dump_json()), "format": 2, "novelty": [1]}
    assert client.post(REPORTS_PATH, json=document).status_code == 200
    assert len(inbox.take()) == 1


@pytest.mark.parametrize(
    "authorization", ["", f"Bearer {TOKEN[:-1]}x", "Bearer", f"Basic {TOKEN}", "Bearer é"]
)
def test_without_the_token_nothing_is_read(
    client: httpx.Client, inbox: AttemptInbox, authorization: str
) -> None:
    answer = client.post(
        REPORTS_PATH,
        content=b"\x00 no report at all",
        headers={"Authorization": authorization.encode("latin-1").decode("latin-1").encode()},
    )
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert inbox.take() == []


def test_a_token_speaks_for_its_own_attempt_only(client: httpx.Client, inbox: AttemptInbox) -> None:
    answer = client.post(REPORTS_PATH, content=report(1, attempt=2).model_dump_json())
    assert answer.status_code == 403
    assert inbox.take() == []


@pytest.mark.parametrize("body", [b"", b"{", b'{"job": "x"}', b"[1]"])
def test_what_is_no_report_is_refused(
    client: httpx.Client, inbox: AttemptInbox, body: bytes
) -> None:
    assert client.post(REPORTS_PATH, content=body).status_code == 422
    assert inbox.take() == []


def test_a_huge_body_is_cut_off(client: httpx.Client, inbox: AttemptInbox) -> None:
    def endless() -> Iterator[bytes]:
        for _ in range(200):
            yield b" " * 1024

    assert client.post(REPORTS_PATH, content=endless()).status_code == 413
    assert inbox.take() == []


def test_health_needs_no_token_and_nothing_else_is_served(client: httpx.Client) -> None:
    client.headers.pop("authorization")
    assert client.get("/healthz").json() == {"status": "ok"}
    assert [client.get(path).status_code for path in ("/", "/docs", "/openapi.json")] == [404] * 3


def test_the_token_ends_with_the_attempt(
    client: httpx.Client, inboxes: Inboxes, inbox: AttemptInbox
) -> None:
    inboxes.close(inbox)
    assert client.post(REPORTS_PATH, content=report(1).model_dump_json()).status_code == 401


def test_an_address_of_another_machine_cannot_be_bound() -> None:
    with pytest.raises(SettingsError, match=r"cannot listen on 203\.0\.113\.1"):
        ApiServer(create_app(Inboxes()), "203.0.113.1")
