"""The controller, one cycle at a time, on rows in memory and a backend that plays a script."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from orchestrator.control.backends.base import AttemptHandle, LaunchRequest, NodeInfo, Observation
from orchestrator.control.backends.fake import FakeBackend
from orchestrator.control.controller.acts import Workplace
from orchestrator.control.controller.effects import InlineEffects
from orchestrator.control.controller.loop import LEASE_SECONDS, Controller, Means, Rows, sha256
from orchestrator.control.controller.policy import Policy
from orchestrator.control.controller.verbs import cancel, retry, suspend
from orchestrator.control.store import Database
from orchestrator.errors import StoreUnavailable
from orchestrator.records import (
    Action,
    AttemptState,
    Demand,
    Job,
    JobState,
    Outcome,
    Phase,
    Principal,
    Queue,
    Reason,
    Role,
    WaitReason,
)
from orchestrator.storage.checkpoints import CheckpointStore
from orchestrator.storage.objectstore import ObjectStore, open_store
from orchestrator.storage.registry import ModelRegistry
from tests.control.builders import KILLED, PENDING, RUNNING, SUCCEEDED, Clock
from tests.control.store.builders import a_report, added

S, R = JobState, Reason
ADA = Principal(name="ada", team="vision", role=Role.ADMIN)
POLICY = Policy(jitter=0.0, unreachable_seconds=60.0)
NODES = tuple(NodeInfo(f"fake-{n}", cpus=2, memory_bytes=10**10) for n in (1, 2))


class Cluster:
    """Attempts by what the test says of them; a control plane that can lose its process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clock = Clock()
        self.database = Database.open("sqlite://", clock=self.clock)
        self.rows = Rows.of(self.database)
        self.rows.queues.put(Queue(name="default"))
        self.shows: dict[int, Observation] = {}  # by number of the Attempt
        self.backend = FakeBackend(self._script, nodes=NODES)
        self.tokens: list[str] = []
        self.controller = self.process("first")

    def _script(self, request: LaunchRequest) -> Iterator[Observation]:
        while True:
            yield self.shows.get(request.attempt, PENDING)

    def process(self, holder: str) -> Controller:
        """A server that begins to lead when the lease is free."""
        place = Workplace(
            backends={"fake": self.backend},
            store=open_store,
            documents=self.rows.jobs.documents,
            report_url=None,
            logs=self.folder / "logs",
            folders={},
            go_on=lambda job: "try again",
            seconds={},
        )
        means = Means(place, InlineEffects(), POLICY, clock=self.clock, token=self._token)
        return Controller(self.rows, means, holder)

    def _token(self) -> str:
        self.tokens.append(f"token-{len(self.tokens)}")
        return self.tokens[-1]

    @property
    def store(self) -> ObjectStore:
        return open_store(str(self.folder / "store"))

    def submit(self, number: int = 1, **said: Any) -> str:
        said = {"demand": Demand(workers=2), **said}
        return added(self.rows.jobs, number, store=str(self.folder / "store"), **said).id

    def cycles(self, count: int = 1, seconds: float = 1.0) -> None:
        for _ in range(count):
            self.controller.turn()
            self.clock.sleep(seconds)

    def job(self, id: str) -> Job:
        found = self.rows.jobs.get(id)
        assert found is not None
        return found

    def until(self, id: str, state: JobState, most: int = 40) -> Job:
        for _ in range(most):
            if self.job(id).state is state:
                return self.job(id)
            self.cycles()
        raise AssertionError(f"{id} is {self.job(id)}")

    def kinds(self, id: str) -> list[str]:
        return [event.kind for event in self.rows.events.list(job=id)]

    def report(self, id: str, sequence: int, **said: Any) -> Action | None:
        """What the newest Attempt says with its token; the answer."""
        digest = sha256(self.tokens[-1])
        report = a_report(id, sequence, **said)
        answer = self.rows.attempts.report(digest, report, self.clock.now)
        return None if answer is None else answer.action

    def publish(self, id: str, attempt: int = 1, *, complete: bool = True) -> None:
        """What a worker leaves that has done its work."""
        model = None
        if complete:
            folder = self.folder / "model"
            folder.mkdir(exist_ok=True)
            (folder / "config.json").write_text("{}")
            model = ModelRegistry(self.store).publish("camera", folder, run=id).ref
        outcome = Outcome(
            job=id, attempt=attempt, state=S.SUCCEEDED, reason=R.COMPLETED, model=model
        )
        checkpoints = CheckpointStore(self.store, id)
        checkpoints.put_outcome(attempt, outcome.model_dump(mode="json"))
        self.shows[attempt] = SUCCEEDED


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    cluster = Cluster(tmp_path)
    with closing(cluster.database):
        yield cluster


def test_a_job_from_the_queue_to_its_model(cluster: Cluster) -> None:
    id = cluster.submit()
    cluster.until(id, S.STARTING)
    cluster.shows[1] = RUNNING
    cluster.until(id, S.RUNNING)
    cluster.publish(id)
    ended = cluster.until(id, S.SUCCEEDED)
    assert (ended.model, ended.attempt, ended.waits) == ("camera@1", 1, ())
    states = [event.state for event in cluster.rows.events.list(job=id)]
    assert list(dict.fromkeys(states)) == [S.QUEUED, S.STARTING, S.RUNNING, S.SUCCEEDED]


def test_exit_0_without_a_model_is_a_failure(cluster: Cluster) -> None:
    id = cluster.submit()
    cluster.until(id, S.STARTING)
    cluster.publish(id, complete=False)
    cluster.until(id, S.QUEUED)
    attempts = cluster.rows.attempts.list(id)
    assert attempts[0].outcome is not None
    assert attempts[0].outcome.reason is R.NO_OUTCOME
    assert cluster.job(id).failures == {R.NO_OUTCOME: 1}


def test_a_killed_attempt_is_followed_by_another_after_its_backoff(cluster: Cluster) -> None:
    id = cluster.submit()
    cluster.shows[1] = RUNNING
    cluster.until(id, S.RUNNING)
    cluster.shows[1] = KILLED
    waiting = cluster.until(id, S.QUEUED)
    assert waiting.not_before is not None
    assert waiting.reason is R.RETRYING
    cluster.cycles(2)
    assert [wait.reason for wait in cluster.job(id).waits] == [WaitReason.NOT_BEFORE]
    cluster.until(id, S.STARTING)
    assert cluster.clock.now >= waiting.not_before
    cluster.cycles()
    assert [request.attempt for request in cluster.backend.launched] == [1, 2]


def test_a_look_that_fails_changes_nothing(cluster: Cluster) -> None:
    id = cluster.submit()
    cluster.shows[1] = RUNNING
    cluster.until(id, S.RUNNING)
    cluster.backend.faults.is_away = True
    cluster.cycles(55)
    assert cluster.job(id).state is S.RUNNING
    cluster.backend.faults.is_away = False
    cluster.publish(id)
    cluster.until(id, S.SUCCEEDED)
    assert len(cluster.backend.launched) == 1


def test_a_backend_that_stays_away_loses_the_attempt_and_sweeps_it_when_back(
    cluster: Cluster,
) -> None:
    id = cluster.submit()
    cluster.shows[1] = RUNNING
    cluster.until(id, S.RUNNING)
    cluster.backend.faults.is_away = True
    gone_on = cluster.until(id, S.QUEUED, most=80)
    assert gone_on.failures == {R.NODE_LOST: 1}
    assert cluster.rows.attempts.list(id)[0].state is AttemptState.ABANDONED
    cluster.backend.faults.is_away = False
    cluster.cycles(14)
    assert AttemptHandle(id, 1) in cluster.backend.stopped
    assert cluster.rows.attempts.list(id)[0].state is AttemptState.ENDED
    assert "AbandonedEnded" in cluster.kinds(id)


def test_a_restarted_controller_adopts_what_runs(cluster: Cluster) -> None:
    """The first process died between the launch and the row that tells of it."""
    id = cluster.submit()
    cluster.cycles(1)  # asks for the machines
    cluster.controller.turn()  # decides
    cluster.controller.turn()  # launches
    assert cluster.rows.attempts.list(id)[0].state is AttemptState.CREATED
    assert len(cluster.backend.launched) == 1
    cluster.controller = cluster.process("second")
    cluster.clock.sleep(LEASE_SECONDS + 1)
    cluster.shows[1] = RUNNING
    cluster.until(id, S.RUNNING)
    assert "Adopted" in cluster.kinds(id)
    assert len(cluster.backend.launched) == 1


def test_a_restarted_controller_launches_what_was_never_launched(cluster: Cluster) -> None:
    """It makes another token: the one of before died with its maker."""
    id = cluster.submit()
    cluster.cycles(1)
    cluster.controller.turn()
    assert cluster.job(id).state is S.STARTING
    assert cluster.backend.launched == []
    cluster.controller = cluster.process("second")
    cluster.clock.sleep(LEASE_SECONDS + 1)
    cluster.cycles(6)
    assert [request.attempt for request in cluster.backend.launched] == [1]
    assert cluster.job(id).attempt == 1
    assert len(cluster.tokens) == 2


def test_a_standby_waits_for_the_leader_to_die_and_the_leader_finds_itself_replaced(
    cluster: Cluster,
) -> None:
    first, second = cluster.controller, cluster.process("second")
    first.turn()
    second.turn()
    assert (first.leads, second.leads) == (True, False)
    cluster.clock.sleep(LEASE_SECONDS + 1)  # the first one stood still
    second.turn()
    assert second.leads
    first.turn()
    assert not first.leads


def test_what_a_stale_leader_decided_is_not_written(cluster: Cluster) -> None:
    """It lost its lease between looking and writing, and does not know."""
    id = cluster.submit()
    first, second = cluster.controller, cluster.process("second")
    first.turn()
    cluster.clock.sleep(LEASE_SECONDS + 0.5)
    second.turn()
    first._renew_at = cluster.clock.now + 1.0  # its own clock has not noticed
    for _ in range(4):
        first.turn()
    assert cluster.job(id).state is S.QUEUED
    assert cluster.backend.launched == []


def test_a_launch_without_an_answer_is_looked_up_before_it_is_tried_again(
    cluster: Cluster,
) -> None:
    cluster.backend.faults.loses_answers = True
    id = cluster.submit()
    cluster.shows[1] = RUNNING
    cluster.until(id, S.RUNNING)
    assert len(cluster.backend.launched) == 1
    assert cluster.job(id).failures == {}


def test_a_launch_that_is_refused_counts_and_is_told(cluster: Cluster) -> None:
    cluster.backend.faults.refusal = "no agent took it"
    id = cluster.submit()
    failed = cluster.until(id, S.FAILED, most=120)
    assert failed.reason is R.LAUNCH_FAILED
    assert failed.failures == {R.LAUNCH_FAILED: 4}
    assert failed.message.startswith("no agent took it")


def test_a_hang_leaves_stacks_and_goes_on(cluster: Cluster) -> None:
    id = cluster.submit(hang_seconds=30.0)
    cluster.shows[1] = RUNNING
    cluster.until(id, S.RUNNING)
    cluster.report(id, 1, phase=Phase.TRAIN, step=5, max_steps=50)
    cluster.clock.sleep(31)
    cluster.report(id, 2, phase=Phase.TRAIN, step=5, max_steps=50)
    cluster.cycles(2)
    assert cluster.report(id, 3, phase=Phase.TRAIN, step=5) is Action.DUMP_STACKS
    cluster.until(id, S.STOPPING, most=25)
    assert cluster.report(id, 4, phase=Phase.TRAIN, step=5) is Action.SAVE_AND_STOP
    waiting = cluster.until(id, S.QUEUED)
    assert waiting.failures == {R.HANG: 1}
    kinds = cluster.kinds(id)
    assert kinds.index("StacksRequested") < len(kinds) - 1
    assert AttemptHandle(id, 1) in cluster.backend.stopped


def test_suspending_saves_first_and_a_cancelled_job_leaves_nothing(cluster: Cluster) -> None:
    id = cluster.submit()
    cluster.shows[1] = RUNNING
    cluster.until(id, S.RUNNING)
    cluster.report(id, 1, phase=Phase.TRAIN, step=5, max_steps=50)
    suspend(cluster.rows.jobs, id, ADA, cluster.clock.now)
    cluster.cycles(3)
    assert cluster.report(id, 2, phase=Phase.TRAIN, step=6) is Action.SAVE_AND_STOP
    assert cluster.backend.stopped == [], "it is saving"
    cancel(cluster.rows.jobs, id, ADA, cluster.clock.now)
    cluster.cycles(1, seconds=POLICY.save_seconds)
    assert cluster.until(id, S.CANCELLED).wanted is None
    assert cluster.backend.live() == []


@pytest.mark.parametrize(
    ("limit", "state"),
    [({"pre_running_seconds": 20.0}, S.STARTING), ({"active_seconds": 20.0}, S.RUNNING)],
)
def test_deadlines(cluster: Cluster, limit: dict[str, float], state: JobState) -> None:
    id = cluster.submit(**limit, created_at=cluster.clock.now)
    if state is S.RUNNING:
        cluster.shows[1] = RUNNING
    cluster.until(id, state)
    failed = cluster.until(id, S.FAILED)
    assert failed.reason is R.DEADLINE_EXCEEDED
    assert cluster.backend.live() == []


def test_an_ended_job_is_deleted_after_its_time_unless_another_waits_for_it(
    cluster: Cluster,
) -> None:
    first = cluster.submit(1, ttl_seconds_after_finished=30.0)
    second = cluster.submit(2, after=(first,))
    cluster.until(first, S.STARTING)
    cluster.cycles(1)
    assert [wait.reason for wait in cluster.job(second).waits] == [WaitReason.DEPENDENCY]
    cluster.publish(first)
    cluster.until(first, S.SUCCEEDED)
    cluster.rows.queues.put(Queue(name="default", is_paused=True))
    cluster.cycles(2, seconds=40.0)
    assert cluster.job(first).state is S.SUCCEEDED, "the second has not begun"
    cancel(cluster.rows.jobs, second, ADA, cluster.clock.now)
    left = CheckpointStore(cluster.store, first)
    assert left.outcome(1) is not None
    cluster.cycles(4, seconds=3.0)
    assert cluster.rows.jobs.get(first) is None
    assert left.outcome(1) is None
    assert [model.ref for model in ModelRegistry(cluster.store).versions("camera")] == ["camera@1"]


def test_what_an_expired_job_left_goes_before_its_rows_do(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    id = cluster.submit(ttl_seconds_after_finished=30.0)
    cluster.until(id, S.STARTING)
    cluster.publish(id)
    cluster.until(id, S.SUCCEEDED)
    cluster.clock.sleep(31.0)
    with monkeypatch.context() as away:
        away.setattr(ObjectStore, "delete_prefix", _away)
        cluster.cycles(4, seconds=3.0)
        assert cluster.job(id).state is S.SUCCEEDED
    cluster.cycles(4, seconds=3.0)
    assert cluster.rows.jobs.get(id) is None


def _away(store: ObjectStore, prefix: str) -> None:
    raise StoreUnavailable(f"{store} is away")


def test_a_dependency_that_fails_fails_those_that_wait_and_a_retry_is_waited_for(
    cluster: Cluster,
) -> None:
    first = cluster.submit(1)
    second = cluster.submit(2, after=(first,), identity="6f" * 32)
    cancel(cluster.rows.jobs, first, ADA, cluster.clock.now)
    failed = cluster.until(second, S.FAILED)
    assert failed.reason is R.DEPENDENCY_FAILED
    assert failed.message == f"{first}, on which this job depends, did not succeed"
    retry(cluster.rows.jobs, first, ADA, cluster.clock.now)
    retry(cluster.rows.jobs, second, ADA, cluster.clock.now)
    cluster.cycles(3)
    assert cluster.job(second).state is S.QUEUED


def test_two_that_do_not_fit_together_run_one_after_the_other(cluster: Cluster) -> None:
    first = cluster.submit(1, demand=Demand(workers=4))
    second = cluster.submit(2, demand=Demand(workers=4))
    cluster.until(first, S.STARTING)
    cluster.cycles(2)
    waits = cluster.job(second).waits
    assert [wait.reason for wait in waits] == [WaitReason.NO_ROOM]
    cluster.publish(first)
    cluster.until(first, S.SUCCEEDED)
    cluster.until(second, S.STARTING)


def test_a_more_important_job_gets_the_place_of_another_which_saves_and_resumes(
    cluster: Cluster,
) -> None:
    low = cluster.submit(1, demand=Demand(workers=4))
    cluster.shows[1] = RUNNING
    cluster.until(low, S.RUNNING)
    cluster.report(low, 1, phase=Phase.TRAIN, step=5, max_steps=50)
    high = cluster.submit(2, demand=Demand(workers=4), priority=10)
    stopping = cluster.until(low, S.STOPPING)
    assert stopping.goal_reason is R.PREEMPTED
    assert [wait.reason for wait in cluster.job(high).waits] == [WaitReason.PREEMPTING]
    assert cluster.report(low, 2, phase=Phase.TRAIN, step=6) is Action.SAVE_AND_STOP
    saved = Outcome(job=low, attempt=1, state=S.SUSPENDED, reason=R.INTERRUPTED, step=6)
    CheckpointStore(cluster.store, low).put_outcome(1, saved.model_dump(mode="json"))
    cluster.shows[1] = SUCCEEDED
    waiting = cluster.until(low, S.QUEUED)
    assert (waiting.reason, waiting.failures) == (R.PREEMPTED, {})
    assert cluster.until(high, S.STARTING).attempt == 1
    assert cluster.job(low).state is S.QUEUED
