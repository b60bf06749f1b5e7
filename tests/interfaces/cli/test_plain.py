import os

import pytest

from orchestrator.interfaces.cli.plain import PlainDisplay
from orchestrator.records import Phase
from tests.interfaces.cli.scripted import JOB, FakeClock, Script, plan


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def lines():
    return []


@pytest.fixture
def display(lines, clock):
    return PlainDisplay(lambda line: lines.append(line.partition("  ")[2]), clock, fd=-1)


@pytest.fixture
def script(clock):
    return Script(clock)


def test_a_line_begins_with_the_time(clock):
    lines = []
    PlainDisplay(lines.append, clock, fd=-1).phase(Phase.PLAN, "")
    time, _, rest = lines[0].partition("  ")
    assert len(time) == len("14:38:34")
    assert time.count(":") == 2
    assert rest == "plan             started"


def test_the_plan_and_its_warnings_are_told(display, lines):
    display.planned(plan(steps=7, warnings=("camera/train is skewed",)))
    assert lines == [
        "plan             22.7 M parameters, 7 steps, about 2:55",
        "plan             warning: camera/train is skewed",
    ]


def test_phases_begin_and_end_with_a_line(display, lines, clock):
    with display:
        display.phase(Phase.PLAN, "")
        clock.pass_seconds(0.8)
        display.phase(Phase.LAUNCH, "starting Ray")
        clock.pass_seconds(12)
    assert lines == [
        "plan             started",
        "plan             done in 0.8 s",
        "launch           starting Ray",
        "launch           done in 12 s",
    ]


def test_steps_are_told_at_most_every_ten_seconds(display, lines, clock, script):
    display.planned(plan(steps=120))
    lines.clear()
    for step in range(1, 31):  # a step a second
        display.report(script.report(Phase.TRAIN, step=step, metrics={"loss": 0.5}))
        clock.pass_seconds(1)
    assert [line for line in lines if "step" in line] == [
        "train            step 1 of 120  loss 0.5000",
        "train            step 11 of 120  loss 0.5000  1:49 left",
        "train            step 21 of 120  loss 0.5000  1:39 left",
    ]


def test_the_last_step_is_always_told_and_once(display, lines, script):
    display.planned(plan(steps=2))
    lines.clear()
    for step in (1, 2, 2, 2):
        display.report(script.report(Phase.TRAIN, step=step))
    assert lines == [
        f"train            attempt 1 of {JOB}",
        "train            step 1 of 2",
        "train            step 2 of 2",
    ]


def test_each_checkpoint_and_evaluation_has_its_line(display, lines, script):
    display.planned(plan(steps=100, metric="camera/macro_f1"))
    display.report(script.report(Phase.TRAIN, step=1))
    lines.clear()
    display.report(script.report(Phase.TRAIN, step=20, checkpoint_step=20))
    display.report(script.report(Phase.TRAIN, step=20, metrics={"camera/macro_f1": 0.8125}))
    display.report(script.report(Phase.TRAIN, step=21))
    assert lines == [
        "train            checkpoint of step 20 is saved",
        "train            valid at step 20  camera/macro_f1 0.812",
    ]


def test_a_message_is_told_once(display, lines, script):
    display.report(script.report(Phase.LOAD, message="22.7 M parameters"))
    display.report(script.report(Phase.LOAD))
    display.report(script.report(Phase.LOAD, message="294 rows"))
    display.report(script.report(Phase.LOAD, message="294 rows"))
    assert lines == [
        f"load             attempt 1 of {JOB}: 22.7 M parameters",
        "load             294 rows",
    ]


def test_a_new_attempt_is_named(display, lines, clock, script):
    display.report(script.report(Phase.TRAIN, step=5))
    display.report(Script(clock, attempt=2).report(Phase.LOAD))
    assert lines == [
        f"train            attempt 1 of {JOB}",
        "train            step 5",
        "train            done in 0.0 s",
        f"load             attempt 2 of {JOB}",
    ]


def test_an_error_ends_the_phase_without_calling_it_done(display, lines, clock):
    def fail():
        with display:
            display.phase(Phase.LAUNCH, "starting Ray")
            clock.pass_seconds(3)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert lines[-1] == "launch           ended in 3.0 s"


def test_stopping_is_told_from_a_signal_handler(lines, clock, script):
    read, write = os.pipe()
    display = PlainDisplay(lines.append, clock, fd=write)
    display.stopping(1)
    display.report(script.report(Phase.TRAIN, step=5))
    display.stopping(1)
    display.stopping(2)
    os.close(write)
    with os.fdopen(read) as told:
        assert told.read().splitlines() == [
            "Stopping, Ctrl-C again to stop at once",
            "Saving a checkpoint, Ctrl-C again to stop at once",
            "Stopping at once",
        ]


def test_a_job_of_a_server_waits_and_is_noted(display, lines, clock):
    with display:
        display.waiting("There is no room.")
        display.waiting("There is no room.")
        display.note("suspend requested")
        display.phase(Phase.LAUNCH, "2 on n1")
        clock.pass_seconds(2)
        display.waiting("WorkerLost: killed; goes on")
        display.phase(Phase.TRAIN, "")
        display.detached()
    assert lines == [
        "waiting          There is no room.",
        "waiting          suspend requested",
        "launch           2 on n1",
        "launch           ended in 2.0 s",
        "waiting          WorkerLost: killed; goes on",
        "train            started",
    ]


def test_what_has_failed_is_not_done(display, lines):
    with display:
        display.phase(Phase.TRAIN, "")
        display.failed()
    assert lines[-1] == "train            ended in 0.0 s"
