from __future__ import annotations

import json

import pytest

from orchestrator.control.controller.journal import Journal
from orchestrator.records import JobState, Reason
from tests.control.builders import JOB, Clock


def test_each_move_has_its_event() -> None:
    clock = Clock(100.0)
    journal = Journal(JOB, clock)
    journal.attempt = 2
    clock.sleep(1)
    journal.move(JobState.STARTING, Reason.LAUNCHED)
    clock.sleep(5)
    journal.move(JobState.RUNNING, Reason.TRAINING)
    journal.move(JobState.RUNNING, Reason.TRAINING)  # no move, no event
    clock.sleep(9)
    journal.move(JobState.SUCCEEDED, Reason.COMPLETED, "done")
    told = [
        (event.time, event.attempt, event.kind, event.state, event.reason)
        for event in journal.events
    ]
    assert told == [
        (100.0, None, "Created", "QUEUED", "Submitted"),
        (101.0, 2, "StateChanged", "STARTING", "Launched"),
        (106.0, 2, "StateChanged", "RUNNING", "Training"),
        (115.0, 2, "StateChanged", "SUCCEEDED", "Completed"),
    ]
    lines = [json.loads(line) for line in journal.as_lines().splitlines()]
    assert lines[-1]["message"] == "done"
    assert {line["job"] for line in lines} == {JOB}


def test_an_interruption_passes_through_stopping() -> None:
    journal = Journal(JOB, Clock())
    journal.move(JobState.STARTING, Reason.LAUNCHED)
    journal.move(JobState.SUSPENDED, Reason.INTERRUPTED)
    assert [event.state for event in journal.events[-2:]] == ["STOPPING", "SUSPENDED"]


def test_no_state_follows_an_end() -> None:
    journal = Journal(JOB, Clock())
    journal.move(JobState.FAILED, Reason.LAUNCH_FAILED)
    with pytest.raises(AssertionError, match="FAILED -> RUNNING"):
        journal.move(JobState.RUNNING, Reason.TRAINING)
