"""The next step of one job: tables of what is seen and what is decided."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.control.backends.base import AttemptStatus, Observation
from orchestrator.control.controller.lifecycle import decide, preempted
from orchestrator.control.controller.policy import Policy
from orchestrator.control.controller.values import (
    WAIT,
    Act,
    Concluded,
    Decision,
    Known,
    Move,
    View,
)
from orchestrator.errors import LaunchFailed
from orchestrator.records import (
    Action,
    AttemptState,
    Goal,
    JobState,
    Outcome,
    Phase,
    Reason,
)
from tests.control.builders import KILLED, PENDING, RUNNING, STOPPED, SUCCEEDED, UNKNOWN
from tests.control.store.builders import TIME, a_job, an_attempt

NOW = TIME + 1000
ABSENT = Observation(AttemptStatus.ABSENT)
S, A, R = JobState, AttemptState, Reason
POLICY = Policy(jitter=0.0)
FRESH = Known(token="t")


def view(state: JobState, known: Known = FRESH, **said: Any) -> View:
    """A job with its first Attempt; `a_…` are fields of that."""
    busy = said.pop("busy", frozenset())
    failed = said.pop("failed_dependency", None)
    of_attempt = {name[2:]: said.pop(name) for name in list(said) if name.startswith("a_")}
    defaults = {S.STARTING: A.CREATED, S.RUNNING: A.RUNNING, S.STOPPING: A.RUNNING}
    attempt = None
    if state in defaults:
        attempt = an_attempt("job-x", **{"state": defaults[state], **of_attempt})
    job = a_job(state=state, attempt=0 if attempt is None else 1, **said)
    return View(job, attempt, known, busy, failed)


def step(seen: View) -> Decision:
    return decide(seen, NOW, POLICY)


def move(seen: View) -> Move:
    found = step(seen).move
    assert found is not None
    return found


@pytest.mark.parametrize(
    "seen",
    [
        view(S.QUEUED),
        view(S.SUSPENDED),
        view(S.SUCCEEDED),
        view(S.QUEUED, pre_running_seconds=1000.0),  # to the second
        view(S.QUEUED, pre_running_seconds=10.0, started_at=TIME + 5),  # it ran before
    ],
)
def test_nothing_to_do(seen: View) -> None:
    assert step(seen) == WAIT


@pytest.mark.parametrize(
    ("seen", "state", "reason"),
    [
        (view(S.QUEUED, wanted=Goal.CANCEL), S.CANCELLED, R.CANCELLED),
        (view(S.QUEUED, wanted=Goal.SUSPEND), S.SUSPENDED, R.SUSPENDED),
        (view(S.QUEUED, failed_dependency="job-a"), S.FAILED, R.DEPENDENCY_FAILED),
        (view(S.QUEUED, pre_running_seconds=999.0), S.FAILED, R.DEADLINE_EXCEEDED),
        (view(S.STARTING, wanted=Goal.CANCEL), S.STOPPING, R.CANCELLED),
        (view(S.RUNNING, wanted=Goal.SUSPEND), S.STOPPING, R.SUSPENDED),
        (view(S.STARTING, pre_running_seconds=10.0), S.STOPPING, R.DEADLINE_EXCEEDED),
        (view(S.RUNNING, active_seconds=9.0, started_at=TIME), S.STOPPING, R.DEADLINE_EXCEEDED),
        (view(S.STARTING, Known(seen=RUNNING), a_state=A.LAUNCHED), S.RUNNING, R.TRAINING),
        (view(S.STARTING, a_state=A.LAUNCHED, a_reported_at=NOW - 1), S.RUNNING, R.TRAINING),
    ],
)
def test_states_that_follow(seen: View, state: JobState, reason: Reason) -> None:
    found = move(seen)
    assert (found.state, found.reason) == (state, reason)


@pytest.mark.parametrize(
    ("known", "acts"),
    [
        (Known(token="t"), (Act.LAUNCH,)),  # untouched: decided by this process just now
        (Known(), (Act.LOOK,)),  # by another one: it may be there
        (Known(seen=UNKNOWN), (Act.LOOK,)),  # nobody could say
        (Known(seen=ABSENT), (Act.RENEW,)),  # it is not: a token of our own first
        (Known(token="t", seen=ABSENT), (Act.LAUNCH,)),
        (Known(token="t", in_doubt=True), (Act.LOOK,)),  # not answered: perhaps it was accepted
        (Known(token="t", launch_at=NOW + 1), ()),  # the backend was away a moment ago
        (Known(token="t", launch_at=NOW), (Act.LAUNCH,)),
    ],
)
def test_an_attempt_is_launched_once(known: Known, acts: tuple[Act, ...]) -> None:
    assert step(view(S.STARTING, known)) == Decision(acts=acts)


def test_an_attempt_that_is_found_running_is_adopted() -> None:
    found = move(view(S.STARTING, Known(seen=RUNNING)))
    assert (found.kind, found.attempt) == (
        "Adopted",
        {"state": A.LAUNCHED, "launched_at": TIME},
    )


def test_what_is_under_way_is_not_begun_again() -> None:
    assert step(view(S.STARTING, busy=frozenset({Act.LAUNCH}))) == WAIT


@pytest.mark.parametrize(
    "known",
    [
        Known(seen=SUCCEEDED),
        Known(seen=KILLED),
        Known(seen=STOPPED),
        Known(seen=ABSENT),
        Known(launch_error=LaunchFailed("no agent")),
    ],
)
def test_what_is_over_is_concluded(known: Known) -> None:
    assert step(view(S.RUNNING, known)) == Decision(acts=(Act.CONCLUDE,))


@pytest.mark.parametrize(
    "known",
    [
        Known(seen=UNKNOWN, away_since=NOW - 1800),  # to the second
        Known(seen=PENDING),
        Known(seen=RUNNING),
        Known(launch_error=LaunchFailed("no agent"), in_doubt=True),
    ],
)
def test_a_failed_look_is_not_a_failed_job(known: Known) -> None:
    assert Act.CONCLUDE not in step(view(S.RUNNING, known)).acts


def test_a_backend_that_was_silent_for_very_long_has_lost_its_attempts() -> None:
    silent = Known(seen=UNKNOWN, away_since=NOW - 1801)
    assert Act.CONCLUDE in step(view(S.RUNNING, silent)).acts
    reporting = view(S.RUNNING, silent, a_reported_at=NOW - 100)
    assert Act.CONCLUDE not in step(reporting).acts


def outcome(state: JobState, reason: Reason, **said: Any) -> Outcome:
    return Outcome(job="job-x", attempt=1, state=state, reason=reason, **said)


FAILED = outcome(S.FAILED, R.WORKER_LOST, message="rank 1 was killed")
SAVED = outcome(S.SUSPENDED, R.INTERRUPTED)
DONE = outcome(S.SUCCEEDED, R.COMPLETED, model="camera@1")


@pytest.mark.parametrize(
    ("state", "told", "said", "becomes", "reason"),
    [
        (S.RUNNING, DONE, {}, S.SUCCEEDED, R.COMPLETED),
        (S.RUNNING, FAILED, {}, S.QUEUED, R.RETRYING),
        (S.RUNNING, FAILED, {"failures": {R.WORKER_LOST: 5}}, S.FAILED, R.WORKER_LOST),
        (S.STOPPING, DONE, {"goal": Goal.CANCEL}, S.SUCCEEDED, R.COMPLETED),
        (S.STOPPING, SAVED, {"goal": Goal.CANCEL}, S.CANCELLED, R.CANCELLED),
        (S.STOPPING, FAILED, {"goal": Goal.CANCEL}, S.CANCELLED, R.CANCELLED),
        (
            S.STOPPING,
            SAVED,
            {"goal": Goal.SUSPEND, "goal_reason": R.SUSPENDED},
            S.SUSPENDED,
            R.SUSPENDED,
        ),
        (
            S.STOPPING,
            SAVED,
            {"goal": Goal.REQUEUE, "goal_reason": R.PREEMPTED},
            S.QUEUED,
            R.PREEMPTED,
        ),
        (
            S.STOPPING,
            SAVED,
            {"goal": Goal.FAIL, "goal_reason": R.DEADLINE_EXCEEDED},
            S.FAILED,
            R.DEADLINE_EXCEEDED,
        ),
        (
            S.STOPPING,
            SAVED,
            {"goal": Goal.REQUEUE, "goal_reason": R.HANG},
            S.QUEUED,
            R.RETRYING,
        ),
        (
            S.STOPPING,
            SAVED,
            {"goal": Goal.REQUEUE, "goal_reason": R.HANG, "failures": {R.HANG: 3}},
            S.FAILED,
            R.HANG,
        ),
    ],
)
def test_how_a_job_goes_on_when_its_attempt_has_ended(
    state: JobState, told: Outcome, said: dict[str, Any], becomes: JobState, reason: Reason
) -> None:
    found = move(view(state, Known(concluded=Concluded(told)), **said))
    assert (found.state, found.reason) == (becomes, reason)
    assert found.attempt == {"state": A.ENDED, "ended_at": NOW, "outcome": told}
    assert found.updates["goal"] is None


def test_a_retry_counts_its_cause_its_nodes_and_its_rung() -> None:
    told = outcome(S.FAILED, R.OUT_OF_MEMORY, message="CUDA out of memory")
    known = Known(concluded=Concluded(told, {"micro_batch_size": 8}, ("n1",)))
    found = move(view(S.RUNNING, known, engine={"offload": "none"}, node_failures={"n1": 1}))
    assert found.updates["failures"] == {R.OUT_OF_MEMORY: 1}
    assert found.updates["node_failures"] == {"n1": 2}
    assert found.updates["engine"] == {"offload": "none", "micro_batch_size": 8}
    assert found.updates["not_before"] == NOW + 5
    assert found.message == (
        "OutOfMemory: CUDA out of memory; next with engine.micro_batch_size=8 (retry 1 of 12)"
    )


def test_preemption_costs_no_retry() -> None:
    known = Known(concluded=Concluded(SAVED))
    found = move(view(S.STOPPING, known, goal=Goal.REQUEUE, goal_reason=R.PREEMPTED))
    assert "failures" not in found.updates
    assert "not_before" not in found.updates
    assert found.updates["preempted_at"] == NOW


def test_an_attempt_that_may_be_alive_is_abandoned_and_told_to_leave() -> None:
    known = Known(concluded=Concluded(FAILED, is_gone=False))
    found = move(view(S.RUNNING, known))
    assert found.attempt is not None
    assert found.attempt["state"] is A.ABANDONED
    assert found.attempt["directive"] == Action.SAVE_AND_STOP


HANGING = {
    "a_phase": Phase.TRAIN,
    "a_progressed_at": NOW - 1900,
    "a_reported_at": NOW - 1,
    "started_at": TIME,
}


@pytest.mark.parametrize(
    ("said", "kind", "state"),
    [
        ({}, "StacksRequested", None),
        ({"hang_seconds": 100.0, "a_progressed_at": NOW - 102}, "StacksRequested", None),
        (
            {"a_directive": Action.DUMP_STACKS, "a_directive_at": NOW - 20},
            "StateChanged",
            S.STOPPING,
        ),
        # Stacks that a user asked for long ago are none of this hang.
        (
            {"a_directive": Action.DUMP_STACKS, "a_directive_at": NOW - 3000},
            "StacksRequested",
            None,
        ),
    ],
)
def test_a_hang_leaves_its_stacks_then_goes_on_in_another_attempt(
    said: dict[str, Any], kind: str, state: JobState | None
) -> None:
    found = move(view(S.RUNNING, Known(seen=RUNNING), **{**HANGING, **said}))
    assert (found.kind, found.state, found.reason) == (kind, state, R.HANG)


@pytest.mark.parametrize(
    "said",
    [
        {"a_progressed_at": NOW - 1700},
        {"a_reported_at": NOW - 1899},  # silence proves nothing: Reports get lost
        {"a_directive": Action.DUMP_STACKS, "a_directive_at": NOW - 19},  # they have their time
    ],
)
def test_what_is_no_hang_or_not_yet(said: dict[str, Any]) -> None:
    assert step(view(S.RUNNING, Known(seen=RUNNING), **{**HANGING, **said})).move is None


@pytest.mark.parametrize(
    ("said", "stops"),
    [
        ({"a_phase": Phase.LOAD}, True),  # nothing to save
        ({"a_phase": Phase.TRAIN, "a_directive": Action.SAVE_AND_STOP,
          "a_directive_at": NOW - 599}, False),
        ({"a_phase": Phase.TRAIN, "a_directive": Action.SAVE_AND_STOP,
          "a_directive_at": NOW - 600}, True),
        ({"a_phase": Phase.PUBLISH}, False),  # a matter of seconds
        ({"a_phase": Phase.PUBLISH, "changed_at": NOW - 600}, True),
        ({"a_phase": Phase.LOAD, "a_stop_asked_at": NOW - 29}, False),
        ({"a_phase": Phase.LOAD, "a_stop_asked_at": NOW - 30}, True),  # it was not obeyed
    ],
)  # fmt: skip
def test_when_the_backend_must_end_it(said: dict[str, Any], stops: bool) -> None:
    seen = view(
        S.STOPPING,
        Known(seen=RUNNING),
        goal=Goal.CANCEL,
        **{"changed_at": NOW - 1, **said},
    )
    assert (Act.STOP in step(seen).acts) is stops


def test_who_begins_to_train_while_it_is_being_stopped_is_asked_to_save() -> None:
    seen = view(S.STOPPING, Known(seen=RUNNING), goal=Goal.SUSPEND, a_phase=Phase.TRAIN)
    found = move(seen)
    assert found.kind == "SaveRequested"
    assert found.attempt == {"directive": Action.SAVE_AND_STOP, "directive_at": NOW}


def test_a_victim_saves_and_keeps_its_place_in_line() -> None:
    found = preempted(view(S.RUNNING, a_phase=Phase.TRAIN), "gives way", NOW)
    assert (found.state, found.reason) == (S.STOPPING, R.PREEMPTED)
    assert found.updates["goal"] is Goal.REQUEUE
    assert "queued_at" not in found.updates
    assert found.attempt == {"directive": Action.SAVE_AND_STOP, "directive_at": NOW}


def test_a_cancel_overrides_a_suspension_under_way_and_a_finished_attempt_does_not_undo_it() -> (
    None
):
    known = Known(concluded=Concluded(SAVED))
    found = move(view(S.STOPPING, known, goal=Goal.SUSPEND, wanted=Goal.CANCEL))
    assert (found.kind, found.updates["goal"]) == ("GoalChanged", Goal.CANCEL)
