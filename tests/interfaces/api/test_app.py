from __future__ import annotations

import json
from collections.abc import Iterator

import httpx
import pytest

from orchestrator.errors import DatabaseUnavailable, SettingsError
from orchestrator.interfaces.api.app import REPORTS_PATH, create_reports_app
from orchestrator.interfaces.api.serving import ApiServer
from orchestrator.records import Action, Directive, Phase, Report
from tests.control.builders import JOB, report

TOKEN = "t" * 43


class Desk:
    """Keeps what one attempt says."""

    def __init__(self) -> None:
        self.taken: list[Report] = []
        self.action = Action.CONTINUE
        self.is_away = False

    def knows(self, token: str) -> bool:
        return token == TOKEN

    def receive(self, token: str, report: Report) -> Directive | None:
        if self.is_away:
            raise DatabaseUnavailable("the rows are away")
        if (token, report.job, report.attempt) != (TOKEN, JOB, 1):
            return None
        self.taken.append(report)
        return Directive(action=self.action)


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.fixture
def client(desk: Desk) -> Iterator[httpx.Client]:
    """A client of the real server, with the Attempt's token."""
    headers = {"Authorization": f"Bearer {TOKEN}"}
    with (
        ApiServer(create_reports_app(desk), "127.0.0.1") as server,
        httpx.Client(base_url=server.url, headers=headers, trust_env=False) as client,
    ):
        yield client


def test_a_report_arrives_and_is_answered(client: httpx.Client, desk: Desk) -> None:
    sent = report(1, Phase.TRAIN, step=3, metrics={"loss": 0.5})
    answer = client.post(REPORTS_PATH, content=sent.model_dump_json())
    assert (answer.status_code, answer.json()["action"]) == (200, "continue")
    assert desk.taken == [sent]
    desk.action = Action.SAVE_AND_STOP
    answer = client.post(REPORTS_PATH, content=report(2).model_dump_json())
    assert answer.json()["action"] == "save_and_stop"


def test_a_loss_that_is_no_number_arrives_as_such(client: httpx.Client, desk: Desk) -> None:
    sent = report(1, metrics={"loss": float("nan"), "grad_norm": float("inf")})
    assert client.post(REPORTS_PATH, content=sent.model_dump_json()).status_code == 200
    assert str(desk.taken[0].metrics) == "{'loss': nan, 'grad_norm': inf}"


def test_fields_of_a_newer_worker_are_ignored(client: httpx.Client, desk: Desk) -> None:
    document = {**json.loads(report(1).model_dump_json()), "format": 2, "novelty": [1]}
    assert client.post(REPORTS_PATH, json=document).status_code == 200
    assert len(desk.taken) == 1


@pytest.mark.parametrize(
    "authorization", ["", f"Bearer {TOKEN[:-1]}x", "Bearer", f"Basic {TOKEN}", "Bearer é"]
)
def test_without_the_token_nothing_is_taken(
    client: httpx.Client, desk: Desk, authorization: str
) -> None:
    answer = client.post(
        REPORTS_PATH,
        content=report(1).model_dump_json(),
        headers={"Authorization": authorization.encode("latin-1").decode("latin-1").encode()},
    )
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert answer.headers["content-type"] == "application/problem+json"
    assert desk.taken == []


def test_a_token_speaks_for_its_own_attempt_only(client: httpx.Client, desk: Desk) -> None:
    answer = client.post(REPORTS_PATH, content=report(1, attempt=2).model_dump_json())
    assert answer.status_code == 401
    assert desk.taken == []


@pytest.mark.parametrize("body", [b"", b"{", b'{"job": "x"}', b"[1]"])
def test_what_is_no_report_is_refused(client: httpx.Client, desk: Desk, body: bytes) -> None:
    answer = client.post(REPORTS_PATH, content=body)
    assert answer.status_code == 422
    assert answer.json()["problems"]
    assert desk.taken == []


def test_a_huge_body_is_cut_off(client: httpx.Client, desk: Desk) -> None:
    def endless() -> Iterator[bytes]:
        for _ in range(200):
            yield b" " * 1024

    assert client.post(REPORTS_PATH, content=endless()).status_code == 413
    assert desk.taken == []


def test_a_worker_is_told_to_try_again_while_the_rows_are_away(
    client: httpx.Client, desk: Desk
) -> None:
    desk.is_away = True
    answer = client.post(REPORTS_PATH, content=report(1).model_dump_json())
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")


def test_health_needs_no_token_and_nothing_else_is_served(client: httpx.Client) -> None:
    client.headers.pop("authorization")
    assert client.get("/healthz").json() == {"status": "ok"}
    assert [client.get(path).status_code for path in ("/", "/docs", "/openapi.json")] == [404] * 3


def test_an_address_of_another_machine_cannot_be_bound() -> None:
    with pytest.raises(SettingsError, match=r"cannot listen on 203\.0\.113\.1"):
        ApiServer(create_reports_app(Desk()), "203.0.113.1")
