"""Requests nobody thought of, made from the OpenAPI document: none is met with a defect of ours."""

from __future__ import annotations

from collections import Counter
from itertools import cycle
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from orchestrator.records import JobState, Role
from tests.interfaces.api.builders import Place

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]


EXAMPLES = 20
"""Of each operation; the same ones every time."""


@pytest.fixture
def fuzzed(place: Place) -> Place:
    """A service with jobs in several states."""
    for state in (JobState.QUEUED, JobState.RUNNING, JobState.SUCCEEDED):
        job = place.job(str(state).lower())
        if state is not JobState.QUEUED:
            place.started(job.id, f"{job.id}-secret")
        if state.is_terminal:
            place.ended(job.id)
    return place


def test_no_request_meets_a_defect(fuzzed: Place) -> None:
    schema = schemathesis.openapi.from_dict(fuzzed.app.openapi())
    schema.app = fuzzed.app
    headers = {"Authorization": f"Bearer {fuzzed.token('ops', Role.ADMIN, 'root')}"}
    jobs = [job.id for job, _ in fuzzed.service.jobs.live()]
    ids = cycle([*jobs, None])  # an id that exists is never guessed
    statuses: Counter[int] = Counter()
    for found in schema.get_all_operations():
        operation = found.ok()

        @settings(
            max_examples=EXAMPLES,
            derandomize=True,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy())
        def ask(case: Any) -> None:
            if "id" in case.path_parameters and (known := next(ids)):
                case.path_parameters["id"] = known
            answer = case.call(headers=headers)
            statuses[answer.status_code] += 1
            case.validate_response(answer, checks=CHECKS)

        ask()
    assert sum(statuses.values()) > 300
    assert statuses[200] > 50, "nothing was really asked"
