from __future__ import annotations

import math

import pytest

from orchestrator.control.store.intake import MAX_POINTS, Heard, Intake, hear, stride
from orchestrator.records import Attempt, Phase
from tests.control.store.builders import TIME, a_report, an_attempt, job_name

JOB = job_name(1)
AT_STEP_5 = an_attempt(
    JOB,
    phase="train",
    step=5,
    max_steps=9,
    metrics={"loss": 1.0},
    checkpoint_step=4,
    checkpoint_at=TIME,
    progressed_at=TIME,
)
UNMOVED = {"phase": "train", "step": 5, "max_steps": 9, "metrics": {"loss": 1.0}}


def heard(attempt: Attempt = AT_STEP_5, intake: Intake | None = None, **said: object) -> Heard:
    sequence = said.pop("sequence", 1)
    assert isinstance(sequence, int)
    found = hear(attempt, intake or Intake(), a_report(JOB, sequence, **said), TIME + 7)
    assert found is not None
    return found


PROGRESS = [
    pytest.param({"step": 5}, {**UNMOVED, "progressed_at": TIME}, id="heartbeat"),
    pytest.param({}, {**UNMOVED, "progressed_at": TIME}, id="says no step: the known one stays"),
    pytest.param(
        {"step": 6}, {**UNMOVED, "step": 6, "progressed_at": TIME + 7}, id="the step moved"
    ),
    pytest.param(
        {"phase": Phase.EVALUATE},
        {**UNMOVED, "phase": "evaluate", "progressed_at": TIME + 7},
        id="the phase moved",
    ),
    pytest.param(
        {"metrics": {"camera/accuracy": 0.5}, "max_steps": 8},
        {
            **UNMOVED,
            "max_steps": 8,
            "metrics": {"loss": 1.0, "camera/accuracy": 0.5},
            "progressed_at": TIME,
        },
        id="metrics are added to the known ones",
    ),
    pytest.param(
        {"checkpoint_step": 5},
        {**UNMOVED, "progressed_at": TIME, "checkpoint_step": 5, "checkpoint_at": TIME + 7},
        id="a new checkpoint",
    ),
    pytest.param(
        {"checkpoint_step": 4}, {**UNMOVED, "progressed_at": TIME}, id="the known checkpoint"
    ),
    pytest.param({"rank": 3, "step": 6, "metrics": {"loss": 9.0}}, {}, id="another rank"),
]


@pytest.mark.parametrize(("said", "updates"), PROGRESS)
def test_progress(said: dict[str, object], updates: dict[str, object]) -> None:
    found = heard(**said).updates
    del found["intake"]

    assert found == {"reported_at": TIME + 7, **updates}


@pytest.mark.parametrize(
    ("known", "rank", "sequence", "is_news"),
    [
        ({}, 0, 0, True),
        ({0: 3}, 0, 4, True),
        ({0: 3}, 0, 3, False),
        ({0: 3}, 0, 2, False),
        ({0: 3}, 1, 1, True),
        ({0: 3, 1: 1}, 1, 1, False),
    ],
)
def test_a_report_is_news_once(
    known: dict[int, int], rank: int, sequence: int, is_news: bool
) -> None:
    report = a_report(JOB, sequence, rank=rank)

    assert (hear(AT_STEP_5, Intake(sequences=known), report, TIME) is not None) is is_news


def points_of(*said: dict[str, object]) -> list[tuple[str, int, dict[str, float]]]:
    """(series, step, metrics) of all points that a row of reports gives."""
    intake, found = Intake(), []
    for sequence, report in enumerate(said):
        news = heard(intake=intake, sequence=sequence, **report)
        intake = Intake.model_validate(news.updates["intake"])
        found += [(point.series, point.step, point.metrics) for point in news.points]
    return found


def test_a_heartbeat_is_no_point() -> None:
    said = {"step": 1, "metrics": {"loss": math.nan}}

    assert [point[:2] for point in points_of(said, said, said)] == [("training", 1)]


def test_evaluations_are_a_series_of_their_own() -> None:
    assert points_of(
        {"step": 1, "metrics": {"loss": 2.0}},
        {"step": 1, "metrics": {"loss": 2.0, "camera/accuracy": 0.5}},
        {"step": 1, "metrics": {"news/accuracy": 0.6}},
        {"step": 2, "metrics": {"loss": 1.5}},
        {"phase": Phase.EVALUATE, "metrics": {"camera/f1": 0.1}},
        {"step": 3},
        {"rank": 1, "step": 4, "metrics": {"loss": 7.0}},
    ) == [
        ("training", 1, {"loss": 2.0}),
        ("evaluation", 1, {"camera/accuracy": 0.5}),
        ("evaluation", 1, {"news/accuracy": 0.6}),
        ("training", 2, {"loss": 1.5}),
    ]


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        (0, 1),
        (1, 1),
        (2000, 1),
        (2001, 2),
        (4000, 2),
        (4001, 4),
        (8000, 4),
        (8001, 8),
        (10**6, 512),
    ],
)
def test_stride(seen: int, expected: int) -> None:
    assert stride(seen) == expected


def test_a_curve_of_any_length_is_kept_to_a_size_and_even() -> None:
    kept: list[int] = []
    intake = Intake()
    for step in range(9_000):
        news = heard(intake=intake, sequence=step, step=step, metrics={"loss": 1.0})
        intake = Intake.model_validate(news.updates["intake"])
        (point,) = news.points
        if point.is_thinning:
            kept = [ordinal for ordinal in kept if ordinal % point.stride == 0]
        if point.is_kept:
            kept.append(point.ordinal)
        assert len(kept) <= MAX_POINTS

    assert kept == list(range(0, 9_000, 8))
