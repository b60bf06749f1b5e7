from __future__ import annotations

import pytest

from orchestrator.control.backends.base import AttemptHandle, LaunchRequest, Observation
from orchestrator.control.backends.fake import FakeBackend
from orchestrator.control.controller.follow import Following
from orchestrator.control.controller.inbox import AttemptInbox
from orchestrator.control.controller.journal import Journal
from orchestrator.control.controller.stopping import StopSignal
from orchestrator.records import Action, JobState, Phase, Reason
from tests.control.builders import (
    JOB,
    KILLED,
    PENDING,
    RUNNING,
    SUCCEEDED,
    UNKNOWN,
    Clock,
    Heard,
    plays,
    report,
)


class Scene:
    """An Attempt on a fake backend, stepped one cycle at a time."""

    def __init__(self, *observations: Observation) -> None:
        self.clock = Clock()
        self.backend = FakeBackend(plays(*observations))
        self.inbox = AttemptInbox(JOB, 1, "t")
        self.stop = StopSignal()
        self.heard = Heard()
        self.journal = Journal(JOB, self.clock)
        self.journal.move(JobState.STARTING, Reason.LAUNCHED)
        self.following = Following(
            self.backend,
            self.backend.launch(LaunchRequest(JOB, 1, "x")),
            self.inbox,
            self.journal,
            self.heard,
            self.stop,
            clock=self.clock,
            sleep=self.clock.sleep,
        )

    def cycle(self, seconds: float = 1.0) -> bool:
        self.clock.sleep(seconds)
        return self.following.cycle()

    @property
    def answer(self) -> Action:
        return self.inbox.receive(report(0)).action


def test_a_run_that_succeeds() -> None:
    scene = Scene(PENDING, RUNNING, RUNNING, SUCCEEDED)
    assert not scene.cycle()
    assert scene.journal.state is JobState.STARTING
    assert not scene.cycle()
    assert scene.journal.state is JobState.RUNNING
    scene.inbox.receive(report(1, step=5))
    assert not scene.cycle()
    assert [r.step for r in scene.heard.reports] == [5]
    assert scene.cycle()
    assert scene.following.observation == SUCCEEDED


def test_the_backend_is_not_asked_every_cycle() -> None:
    scene = Scene(PENDING, RUNNING, SUCCEEDED)
    for _ in range(4):
        assert not scene.cycle(0.25)
    assert scene.following.observation == PENDING  # one look in a second
    scene.cycle(0.25)
    assert scene.following.observation == RUNNING


def test_reports_that_arrive_with_the_end_are_told() -> None:
    scene = Scene(RUNNING, SUCCEEDED)
    scene.cycle()
    scene.inbox.receive(report(1, Phase.PUBLISH))
    assert scene.cycle()
    assert [r.phase for r in scene.heard.reports] == [Phase.PUBLISH]


def test_looks_that_fail_change_nothing() -> None:
    scene = Scene(RUNNING, UNKNOWN, UNKNOWN, UNKNOWN, SUCCEEDED)
    for _ in range(4):
        assert not scene.cycle()
    assert scene.journal.state is JobState.RUNNING
    assert scene.cycle()


def test_stopping_in_training_asks_the_workers_to_save() -> None:
    scene = Scene(RUNNING, RUNNING, RUNNING, SUCCEEDED)
    scene.inbox.receive(report(1, Phase.TRAIN))
    scene.cycle()
    assert scene.answer is Action.CONTINUE
    scene.stop.request()
    assert not scene.cycle()
    assert scene.answer is Action.SAVE_AND_STOP
    assert scene.journal.state is JobState.STOPPING
    assert not scene.cycle()  # it saves
    assert scene.backend.stopped == []
    assert scene.cycle()


def test_stopping_before_training_ends_the_attempt() -> None:
    scene = Scene(PENDING, PENDING)
    scene.cycle()
    scene.stop.request()
    scene.cycle()
    assert scene.backend.stopped == [AttemptHandle(JOB, 1)]
    assert scene.journal.state is JobState.STOPPING
    assert scene.cycle()
    assert scene.following.observation.status == "STOPPED"


def test_a_second_request_does_not_wait() -> None:
    scene = Scene(RUNNING, RUNNING, RUNNING)
    scene.inbox.receive(report(1, Phase.TRAIN))
    scene.cycle()
    scene.stop.request()
    scene.cycle()
    scene.stop.request()
    assert scene.cycle()
    assert scene.backend.stopped == [AttemptHandle(JOB, 1)]


def test_a_third_request_is_no_more_than_the_second() -> None:
    stop = StopSignal()
    for expected in (1, 2, 2):
        stop.request()
        assert stop.level == expected


@pytest.mark.parametrize("ending", [SUCCEEDED, KILLED])
def test_to_the_end_blocks_until_the_end(ending: Observation) -> None:
    scene = Scene(PENDING, RUNNING, ending)
    began = scene.clock()
    assert scene.following.to_the_end() == ending
    assert 2.0 <= scene.clock() - began < 3.0
