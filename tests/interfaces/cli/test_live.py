import io
import threading
import time

import pytest
from rich.console import Console

from orchestrator.interfaces.cli.display import Followed
from orchestrator.interfaces.cli.live import LiveDisplay
from orchestrator.records import Phase
from tests.interfaces.cli.scripted import JOB, FakeClock, Script, plan


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def console():
    """80 columns, recorded, not a terminal: what is printed stays, nothing is redrawn."""
    return Console(width=80, file=io.StringIO(), record=True, force_terminal=False)


@pytest.fixture
def display(console, clock):
    return LiveDisplay(console, clock)


@pytest.fixture
def script(clock):
    return Script(clock)


def panel(display, width=80):
    console = Console(width=width, file=io.StringIO(), record=True, legacy_windows=False)
    console.print(display.render())
    return console.export_text().splitlines()


def test_a_phase_without_steps_shows_its_message_and_its_time(display, clock):
    display.planned(plan("sentiment-camera"))
    display.phase(Phase.LAUNCH, "starting Ray with 2 cores")
    clock.pass_seconds(7)
    top, head, bottom = panel(display)
    assert top.startswith("╭─ sentiment-camera ─")
    assert "launch  starting Ray with 2 cores" in head
    assert head.endswith("0:07 │")
    assert bottom.endswith("─ 0:07 ─╯")


def test_training_shows_steps_speed_loss_and_the_newest_checkpoint(display, clock, script):
    display.planned(plan(steps=120))
    figures = {"loss": 0.73, "samples_per_second": 212.3, "grad_norm": 1.2, "learning_rate": 5e-5}
    display.report(script.report(Phase.TRAIN, step=10, max_steps=120, metrics=figures))
    clock.pass_seconds(10)
    display.report(
        script.report(
            Phase.TRAIN, step=30, epoch=0.5, metrics=figures | {"loss": 0.4539}, checkpoint_step=20
        )
    )
    _, head, numbers, stored, bottom = panel(display)
    assert head.startswith("│ train  ━")
    assert head.endswith("step 30 of 120  0:45 left │")
    assert "loss 0.4539   samples/s 212   grad 1.20   lr 5.0e-05   epoch 0.50" in numbers
    assert stored.startswith("│ checkpoint step 20  ")
    assert f"{JOB} · 0:10" in bottom


def test_an_evaluation_shows_the_selection_metric(display, script):
    display.planned(plan(metric="mean/macro_f1"))
    metrics = {"camera/loss": 0.4, "camera/macro_f1": 0.8, "movie/macro_f1": 0.6}
    display.report(script.report(Phase.TRAIN, step=40, max_steps=120, metrics=metrics))
    assert "checkpoint none yet   valid at step 40 mean/macro_f1 0.700" in panel(display)[3]


@pytest.mark.parametrize("width", [2, 19])
def test_a_tiny_terminal_is_no_error(width, script):
    console = Console(width=width, file=io.StringIO())
    display = LiveDisplay(console, FakeClock())
    display.planned(plan("x" * 63))
    display.report(script.report(Phase.TRAIN, step=1, max_steps=9))
    console.print(display.render())
    assert "╭" in console.file.getvalue()


@pytest.mark.parametrize("width", [40, 80, 120, 300])
def test_lines_leave_room_for_the_echo_of_ctrl_c(display, script, width):
    console = Console(width=width, file=io.StringIO())
    display = LiveDisplay(console, FakeClock())
    display.planned(plan("x" * 63))
    metrics = {"loss": 0.7, "learning_rate": 5e-5, "grad_norm": 1.0, "camera/macro_f1": 0.7}
    display.report(script.report(Phase.TRAIN, step=1, max_steps=9, metrics=metrics))
    console.print(display.render())
    drawn = console.file.getvalue().splitlines()
    assert {len(line) for line in drawn} == {min(width - 6, 100)}
    assert len(drawn) == 5


def test_stopping_shows_in_the_panel(display, script):
    display.report(script.report(Phase.TRAIN, step=40, max_steps=120))
    display.stopping(1)
    assert "Saving a checkpoint, Ctrl-C again to stop at once" in panel(display)[-2]
    display.stopping(2)
    assert "Stopping at once" in panel(display)[-2]


def test_before_training_there_is_no_checkpoint_to_save(display):
    display.phase(Phase.LAUNCH, "starting Ray")
    display.stopping(1)
    assert "Stopping, Ctrl-C again to stop at once" in panel(display)[-2]


def test_finished_phases_stay_above_the_panel(display, console, clock, script):
    display.planned(plan(steps=4))
    display.phase(Phase.PLAN, "4 steps")
    clock.pass_seconds(0.8)
    display.report(script.report(Phase.LOAD, message="22.7 M parameters"))
    clock.pass_seconds(12)
    display.report(script.report(Phase.TRAIN, step=4, max_steps=4, metrics={"loss": 0.25}))
    display.report(script.report(Phase.TRAIN, message="uploaded again"))
    clock.pass_seconds(65)
    display.report(script.report(Phase.PUBLISH))
    assert console.export_text().splitlines() == [
        "✓ plan               0.8 s   4 steps",
        "✓ load                12 s   22.7 M parameters",
        "· uploaded again",
        "✓ train               1:05   step 4 of 4, loss 0.2500",
    ]


def test_the_plan_s_warnings_stay_too(display, console):
    display.planned(plan(warnings=("camera/train is skewed [76 of 294]",)))
    assert console.export_text() == "! camera/train is skewed [76 of 294]\n"


def test_a_run_that_goes_on_is_no_new_attempt(display, console, clock):
    display.phase(Phase.LAUNCH, "starting the workers")
    display.report(Script(clock, attempt=2).report(Phase.LOAD))
    assert console.export_text() == "✓ launch             0.0 s   starting the workers\n"
    assert "attempt 2" in panel(display)[-1]


def test_a_new_attempt_is_told(display, console, clock, script):
    display.report(script.report(Phase.TRAIN, step=4, max_steps=9))
    display.report(Script(clock, attempt=2).report(Phase.LOAD))
    assert console.export_text().splitlines() == [
        "✗ train              0.0 s   step 4 of 9",
        "↻ attempt 2",
    ]


def test_in_a_terminal_the_panel_is_erased_at_the_end(clock, script):
    file = io.StringIO()
    console = Console(width=80, file=file, force_terminal=True, _environ={"TERM": "xterm"})
    with LiveDisplay(console, clock) as display:
        display.phase(Phase.LAUNCH, "starting Ray")
    written = file.getvalue()
    assert "launch" in written
    last_border = written.rindex("╯")
    assert "\x1b[2K" in written[last_border:]  # erase line, after the last drawing


def test_two_threads_do_not_wait_for_each_other(clock, script):
    """rich's thread draws (its lock, then ours) while Reports come in (ours, then rich's)."""
    console = Console(width=80, file=io.StringIO(), force_terminal=True)
    display = LiveDisplay(console, clock)
    display._live.start()
    over = threading.Event()

    def send():
        for step in range(300):
            display.report(script.report(Phase.TRAIN, step=step, max_steps=300, message=f"{step}"))
        over.set()

    threading.Thread(target=send, daemon=True).start()
    deadline = time.monotonic() + 20
    while not over.is_set() and time.monotonic() < deadline:
        redraw = threading.Thread(target=display._live.refresh, daemon=True)
        redraw.start()
        redraw.join(timeout=5)
    assert over.is_set()
    display._live.stop()


def test_a_job_of_a_server_waits_with_its_whole_reason(console, clock):
    """In its queue, again after an attempt that was lost; what fails is not whole."""
    display = LiveDisplay(console, clock, Followed(JOB, clock() - 65))
    display.waiting("There is no room for 2 workers with 2 cores, 1.52 GB each at once.")
    shown = "\n".join(panel(display))
    assert "waiting" in shown
    assert "1.52 GB each at once." in shown
    assert f"{JOB} · 1:05" in shown
    display.phase(Phase.LAUNCH, "2 on n1")
    assert "There is no room" not in "\n".join(panel(display))
    display.phase(Phase.IMPORT, "")
    clock.pass_seconds(3)
    display.waiting("WorkerLost: killed; goes on")
    display.note("stacks requested")
    display.phase(Phase.TRAIN, "")
    display.failed()
    display.__exit__(None, None, None)
    told = [line.split()[:2] for line in console.export_text().splitlines()]
    assert told[-3:] == [["✗", "import"], ["·", "stacks"], ["✗", "train"]]


def test_what_is_followed_no_longer_has_not_ended(display, console):
    display.phase(Phase.TRAIN, "")
    display.detached()
    display.__exit__(None, None, None)
    assert console.export_text() == ""
