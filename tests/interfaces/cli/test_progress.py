import pytest

from orchestrator.interfaces.cli.progress import Evaluation, RunProgress
from orchestrator.records import Phase
from tests.interfaces.cli.scripted import FakeClock, Script, plan


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def progress(clock):
    return RunProgress(clock)


@pytest.fixture
def script(clock):
    return Script(clock)


def test_the_plan_gives_the_name_and_the_steps(progress):
    progress.planned(plan("demo", steps=7))
    assert (progress.name, progress.max_steps) == ("demo", 7)


def test_the_plan_is_summed_up_in_its_phase(progress, clock):
    progress.enter(Phase.PLAN, "reading the data")
    progress.planned(plan(steps=120))
    ended = progress.enter(Phase.LAUNCH)
    assert ended is not None
    assert ended.message == "22.7 M parameters, 120 steps, about 2:55"


def test_entering_a_phase_ends_the_one_before(progress, clock):
    assert progress.enter(Phase.PLAN) is None
    clock.pass_seconds(2.5)
    ended = progress.enter(Phase.LAUNCH, "starting Ray")
    assert ended is not None
    assert (ended.phase, ended.seconds) == (Phase.PLAN, 2.5)
    assert progress.current is not None
    assert progress.current.message == "starting Ray"


def test_a_phase_that_is_told_again_goes_on(progress, clock):
    progress.enter(Phase.LAUNCH, "starting Ray")
    clock.pass_seconds(3)
    assert progress.enter(Phase.LAUNCH, "waiting for the driver") is None
    clock.pass_seconds(1)
    ended = progress.finish()
    assert ended is not None
    assert (ended.seconds, ended.message) == (4, "waiting for the driver")


def test_seconds_left_follow_the_speed_of_the_last_reports(progress, clock, script):
    progress.take(script.report(Phase.TRAIN, step=10, max_steps=100))
    assert progress.seconds_left() is None  # one point has no speed
    clock.pass_seconds(20)
    progress.take(script.report(Phase.TRAIN, step=50))  # 2 steps a second
    assert progress.seconds_left() == 25
    clock.pass_seconds(5)
    assert progress.seconds_left() == 20
    clock.pass_seconds(60)
    assert progress.seconds_left() == 0


def test_a_resumed_run_is_not_mistaken_for_a_fast_one(progress, clock, script):
    progress.take(script.report(Phase.TRAIN, step=80, max_steps=100))
    clock.pass_seconds(4)
    progress.take(script.report(Phase.TRAIN, step=82))
    assert progress.seconds_left() == 36


def test_repeated_figures_are_no_new_evaluation(progress, script):
    progress.take(script.report(Phase.TRAIN, step=20, metrics={"camera/macro_f1": 0.7}))
    progress.take(script.report(Phase.TRAIN, step=21))
    assert progress.evaluation == Evaluation(20, {"camera/macro_f1": 0.7})
    progress.take(script.report(Phase.TRAIN, step=40, metrics={"camera/macro_f1": 0.8}))
    assert progress.evaluation == Evaluation(40, {"camera/macro_f1": 0.8})


def test_an_evaluation_does_not_hide_the_loss(progress, script):
    progress.take(script.report(Phase.TRAIN, step=20, metrics={"loss": 0.5}))
    progress.take(script.report(Phase.TRAIN, step=20, metrics={"camera/macro_f1": 0.7}))
    assert progress.metrics == {"loss": 0.5}


@pytest.mark.parametrize(
    ("metric", "told"),
    [
        ("camera/macro_f1", {"camera/macro_f1": 0.6}),
        ("mean/macro_f1", {"mean/macro_f1": 0.7}),
        (None, {"camera/accuracy": 0.9}),
        ("camera/unheard_of", {"camera/accuracy": 0.9}),
    ],
)
def test_the_selection_metric_stands_for_an_evaluation(metric, told):
    evaluation = Evaluation(
        20, {"camera/accuracy": 0.9, "camera/macro_f1": 0.6, "movie/macro_f1": 0.8}
    )
    assert evaluation.deciding(metric) == pytest.approx(told)


def test_other_ranks_bring_checkpoints_but_no_figures(progress, script):
    progress.take(script.report(Phase.TRAIN, step=20, metrics={"loss": 0.5}, checkpoint_step=20))
    progress.take(script.report(Phase.LOAD, rank=1, step=3, checkpoint_step=40))
    assert progress.current is not None
    assert progress.current.phase is Phase.TRAIN
    assert (progress.step, progress.checkpoint_step) == (20, 40)


def test_the_newest_checkpoint_never_goes_back(progress, script):
    progress.take(script.report(Phase.TRAIN, step=40, checkpoint_step=40))
    progress.take(script.report(Phase.TRAIN, step=41, checkpoint_step=20))
    assert progress.checkpoint_step == 40


def test_a_new_attempt_starts_its_figures_anew(progress, clock, script):
    progress.take(script.report(Phase.TRAIN, step=40, max_steps=100, checkpoint_step=40))
    second = Script(clock, attempt=2)
    ended = progress.take(second.report(Phase.LOAD))
    assert ended is not None
    assert ended.phase is Phase.TRAIN
    assert (progress.attempt, progress.step, progress.checkpoint_step) == (2, None, 40)


def test_the_first_attempt_that_reports_may_be_any(progress, clock):
    progress.enter(Phase.LAUNCH, "starting the workers")
    clock.pass_seconds(9)
    ended = progress.take(Script(clock, attempt=3).report(Phase.LOAD))
    assert ended is not None
    assert (ended.phase, ended.seconds, progress.attempt) == (Phase.LAUNCH, 9, 3)


def test_a_straggler_of_an_older_attempt_is_ignored(progress, clock, script):
    late = script.report(Phase.TRAIN, step=99)
    progress.take(Script(clock, attempt=2).report(Phase.LOAD))
    progress.take(late)
    assert (progress.attempt, progress.step) == (2, None)


def test_training_leaves_what_it_came_to(progress, script):
    figures = {"loss": 0.1467, "samples_per_second": 1234.5}
    progress.take(script.report(Phase.TRAIN, step=120, max_steps=120, metrics=figures))
    ended = progress.take(script.report(Phase.EVALUATE, message="movie"))
    assert ended is not None
    assert ended.message == "step 120 of 120, loss 0.1467, 1,234 samples/s"
