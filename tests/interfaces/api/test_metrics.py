"""What a scrape tells, and to whom."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from orchestrator.errors import DatabaseUnavailable
from orchestrator.records import JobState, Role
from tests.interfaces.api.builders import API, Place

Labels = frozenset[tuple[str, str]]


def scraped(client: httpx.Client) -> dict[str, dict[Labels, float]]:
    """sample -> labels -> value, as Prometheus reads it."""
    answer = client.get("/metrics")
    assert answer.status_code == 200, answer.text
    found: dict[str, dict[Labels, float]] = {}
    for family in text_string_to_metric_families(answer.text):
        for sample in family.samples:
            found.setdefault(sample.name, {})[frozenset(sample.labels.items())] = sample.value
    return found


def labels(**named: str) -> Labels:
    return frozenset(named.items())


def admin_of(place: Place) -> Any:
    return place.client(team="ops", role=Role.ADMIN, name="root")


def test_jobs_are_counted_by_queue_and_state(place: Place) -> None:
    for _ in range(3):
        place.job()
    running = place.job(team="text")
    place.started(running.id)
    ended = place.job()
    place.move(ended.id, JobState.CANCELLED)
    found = scraped(admin_of(place))
    assert found["orchestrator_jobs"] == {
        labels(queue="default", state="QUEUED"): 3.0,
        labels(queue="default", state="RUNNING"): 1.0,
    }
    assert found["orchestrator_nodes"] == {labels(backend="fake", alive="yes"): 1.0}
    assert found["orchestrator_leader"] == {frozenset(): 0.0}


def test_requests_are_told_by_route_and_never_by_what_was_asked_for(place: Place) -> None:
    job = place.job()
    ada = place.client()
    for _ in range(2):
        ada.get(f"{API}/jobs/{job.id}")
    ada.get(f"{API}/jobs/job-nothing")
    ada.get("/some/secret/path?token=orc_x")
    ada.request("BREW", f"{API}/jobs")
    place.stranger().get(f"{API}/jobs/{job.id}")
    text = admin_of(place).get("/metrics").text
    found = scraped(admin_of(place))["orchestrator_request_seconds_count"]
    route = "/jobs/{id}"
    assert found[labels(method="GET", route=route, status="2xx")] == 2.0
    assert found[labels(method="GET", route=route, status="4xx")] == 1.0
    assert (
        found[labels(method="GET", route="none", status="4xx")] == 2.0
    )  # who is unknown sees none
    assert {dict(one)["method"] for one in found} == {"GET", "other"}
    for secret in (job.id, "job-nothing", "secret", "orc_", "ada", "vision"):
        assert secret not in text


@pytest.mark.parametrize(
    ("role", "status"),
    [(Role.VIEWER, 403), (Role.SUBMITTER, 403), (Role.LEAD, 403), (Role.ADMIN, 200)],
)
def test_numbers_of_all_teams_are_an_admins(place: Place, role: Role, status: int) -> None:
    assert place.client(role=role).get("/metrics").status_code == status
    assert place.stranger().get("/metrics").status_code == 401


def test_an_operator_may_open_them(tmp_path: Path) -> None:
    place = Place(tmp_path, metrics_access="open")
    assert place.stranger().get("/metrics").status_code == 200
    assert place.stranger().get(f"{API}/jobs").status_code == 401
    place.close()


def test_a_database_that_is_away_hides_no_other_number(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away() -> None:
        raise DatabaseUnavailable("the rows are away")

    admin = admin_of(place)
    monkeypatch.setattr(place.service.board, "glance", away)
    found = scraped(admin)
    assert "orchestrator_jobs" not in found
    assert found["orchestrator_leader"] == {frozenset(): 0.0}
