"""Reports between servers and workers of different releases."""

from __future__ import annotations

import math

from orchestrator.records import Phase, Report

SENT = Report(job="job-1", attempt=1, rank=0, sequence=3, time=1.0, phase=Phase.TRAIN)


def test_what_a_newer_worker_says_more_is_ignored() -> None:
    newer = SENT.model_dump(mode="json") | {"weather": "fine"}
    assert Report.model_validate(newer) == SENT


def test_a_loss_that_is_no_number_survives_the_way() -> None:
    diverged = SENT.model_copy(update={"metrics": {"loss": math.nan, "grad_norm": math.inf}})
    received = Report.model_validate_json(diverged.model_dump_json())
    assert math.isnan(received.metrics["loss"])
    assert received.metrics["grad_norm"] == math.inf
