from __future__ import annotations

import pytest

from orchestrator.control.backends.base import Observation
from orchestrator.control.controller.conclusion import Ending, Remains, conclude
from orchestrator.records import JobState, Outcome, Reason
from tests.control.builders import JOB, KILLED, STOPPED, SUCCEEDED

GO_ON = "run the same command again"


def outcome(state: JobState, reason: Reason, **fields: object) -> Outcome:
    return Outcome.model_validate(
        {"job": JOB, "attempt": 3, "state": state, "reason": reason, **fields}
    )


def ending(observation: Observation, remains: Remains, **fields: object) -> Ending:
    return Ending(JOB, 3, observation, remains, GO_ON, **fields)  # type: ignore[arg-type]


def test_success_is_the_attempts_own_word_and_a_published_model() -> None:
    told = outcome(JobState.SUCCEEDED, Reason.COMPLETED, model="camera@1", checkpoint_step=40)
    assert conclude(ending(SUCCEEDED, Remains(told, is_published=True))) is told


def test_success_without_a_complete_model_is_a_failure() -> None:
    told = outcome(JobState.SUCCEEDED, Reason.COMPLETED, model="camera@1")
    ended = conclude(ending(SUCCEEDED, Remains(told, is_published=False)))
    assert (ended.state, ended.reason) == (JobState.FAILED, Reason.NO_OUTCOME)
    assert ended.message == (
        "the attempt says it succeeded, but the store has no complete model of it"
    )


def test_exit_code_0_without_an_outcome_is_a_failure() -> None:
    ended = conclude(ending(SUCCEEDED, Remains(), log_tail="bye"))
    assert (ended.state, ended.reason) == (JobState.FAILED, Reason.NO_OUTCOME)
    assert ended.message == (
        "the attempt ended with exit code 0 but left no outcome\nThe log ends with:\nbye"
    )
    assert ended.hint == "run the same command again"


def test_a_model_that_was_published_counts_even_if_the_driver_then_fell() -> None:
    told = outcome(JobState.SUCCEEDED, Reason.COMPLETED, model="camera@1")
    assert conclude(ending(KILLED, Remains(told, is_published=True))).state is JobState.SUCCEEDED


def test_a_killed_attempt_says_where_it_goes_on() -> None:
    ended = conclude(ending(KILLED, Remains(checkpoint_step=40), resumed_from_step=20))
    assert (ended.state, ended.reason) == (JobState.FAILED, Reason.WORKER_LOST)
    assert ended.message == "the attempt was killed (exit code 137)"
    assert ended.hint == "run the same command again: it resumes from step 40"
    assert (ended.resumed_from_step, ended.checkpoint_step) == (20, 40)


def test_an_attempt_that_ray_lost_is_told_in_rays_words() -> None:
    seen = Observation(KILLED.status, "the embedded Ray ended: Ray's raylet ended unexpectedly")
    ended = conclude(ending(seen, Remains()))
    assert ended.message == (
        "the attempt ended without saying how: "
        "the embedded Ray ended: Ray's raylet ended unexpectedly"
    )


def test_a_failure_that_was_told_gains_the_checkpoint() -> None:
    told = outcome(JobState.FAILED, Reason.DIVERGED, message="rank 0: nan", rank=0)
    ended = conclude(ending(KILLED, Remains(told, checkpoint_step=20), resumed_from_step=10))
    assert (ended.reason, ended.message, ended.rank) == (Reason.DIVERGED, "rank 0: nan", 0)
    assert (ended.checkpoint_step, ended.resumed_from_step) == (20, 10)


def test_an_interrupted_attempt_that_saved_has_the_last_word() -> None:
    told = outcome(JobState.SUSPENDED, Reason.INTERRUPTED, step=33, checkpoint_step=33)
    assert conclude(ending(SUCCEEDED, Remains(told, checkpoint_step=33), is_stopping=True)) == told


@pytest.mark.parametrize(
    ("step", "message", "hint"),
    [
        (
            40,
            "interrupted; the checkpoint of step 40 is saved",
            "run the same command again to go on",
        ),
        (
            None,
            "interrupted; no checkpoint was saved",
            "run the same command again to begin again",
        ),
    ],
)
def test_an_attempt_that_was_stopped_before_it_could_speak(
    step: int | None, message: str, hint: str
) -> None:
    ended = conclude(ending(STOPPED, Remains(checkpoint_step=step), is_stopping=True))
    assert (ended.state, ended.reason) == (JobState.SUSPENDED, Reason.INTERRUPTED)
    assert (ended.message, ended.hint) == (message, hint)


def test_memory_that_ran_out_is_recognised_in_the_log() -> None:
    log = "ray.exceptions.OutOfMemoryError: Task was killed due to the node running low on memory."
    ended = conclude(ending(KILLED, Remains(), log_tail=log))
    assert ended.reason is Reason.OUT_OF_MEMORY
