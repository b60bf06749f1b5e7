"""The controller: observe, decide, apply, once a cycle, for every job that is not at an end.

Started by `server`, one leader at a time. What it must not lose is in the rows and in the object
store; what it keeps in memory about live Attempts is learned again after a restart.
"""

from __future__ import annotations

import hashlib
import logging
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from orchestrator.control.backends.base import AttemptStatus, NodeInfo, Observation
from orchestrator.control.controller import acts
from orchestrator.control.controller.abandoned import Abandoned
from orchestrator.control.controller.acts import Workplace
from orchestrator.control.controller.dependencies import Dependencies, Live
from orchestrator.control.controller.effects import Effects, Key
from orchestrator.control.controller.expiry import Expiry
from orchestrator.control.controller.knowledge import Knowledge
from orchestrator.control.controller.lifecycle import decide, preempted
from orchestrator.control.controller.machines import Machines
from orchestrator.control.controller.planning import plan
from orchestrator.control.controller.policy import Policy
from orchestrator.control.controller.values import Act, Concluded, Known, Move, View
from orchestrator.control.controller.workloads import nodes_of, snapshot, told_place
from orchestrator.control.scheduler.values import Admit, Decisions
from orchestrator.control.scheduler.values import Policy as SchedulingPolicy
from orchestrator.control.store import (
    Attempts,
    Database,
    Events,
    JobChange,
    Jobs,
    Lease,
    Leases,
    Queues,
)
from orchestrator.errors import DatabaseUnavailable, OrchestratorError
from orchestrator.records import Attempt, Event, Job, JobState, Reason, Wait

logger = logging.getLogger(__name__)

LEASE = "controller"
LEASE_SECONDS = 10.0  # a standby takes over so long after its leader's death
RENEW_SECONDS = 3.0
SCHEDULE_SECONDS = 1.0  # where nothing has changed
PAUSE_SECONDS = 0.2
DEFECT_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Rows:
    """The store's verbs, on one database."""

    jobs: Jobs
    attempts: Attempts
    events: Events
    queues: Queues
    leases: Leases

    @classmethod
    def of(cls, database: Database) -> Rows:
        return cls(
            Jobs(database), Attempts(database), Events(database), Queues(database), Leases(database)
        )


@dataclass(frozen=True, slots=True)
class Means:
    """What a controller is made of besides the rows; time, chance and threads are arguments."""

    place: Workplace
    effects: Effects
    policy: Policy = field(default_factory=Policy)
    scheduling: SchedulingPolicy = field(default_factory=SchedulingPolicy)
    clock: Callable[[], float] = time.time
    token: Callable[[], str] = secrets.token_urlsafe  # 32 random bytes


class Controller:
    """One reconciler. Several may be made on one database: the lease lets one decide."""

    def __init__(
        self,
        rows: Rows,
        means: Means,
        holder: str,
        *,
        wake: threading.Event | None = None,
        nodes: dict[str, tuple[NodeInfo, ...]] | None = None,
    ) -> None:
        """
        Args:
            rows: The store's verbs.
            means: What it acts with.
            holder: Names this process among those on the same database.
            wake: Set by whoever changes something it should see at once.
            nodes: Filled with what the backends last told, by backend.
        """
        self.rows = rows
        self.means = means
        self.holder = holder
        self.wake = wake if wake is not None else threading.Event()
        self._lease: Lease | None = None
        self._renew_at = 0.0
        self.machines = Machines(nodes if nodes is not None else {})
        self._schedule_at = float("-inf")
        self._waiting: frozenset[str] = frozenset()  # jobs, when they were scheduled last
        self._defective: set[tuple[str, int]] = set()  # jobs at versions that were complained of
        self._begin_anew()

    def _begin_anew(self) -> None:
        """Forgets what was learned: others may have decided meanwhile."""
        self._knowledge = Knowledge()
        self._dependencies = Dependencies(self.rows.jobs)
        self._abandoned = Abandoned(self.rows.jobs)
        self._expiry = Expiry(self.rows.jobs)

    @property
    def leads(self) -> bool:
        return self._lease is not None

    def run(self, stop: threading.Event) -> None:
        """Cycles until `stop` is set; gives the lease back then."""
        while not stop.is_set():
            try:
                if not self.turn():
                    self.wake.wait(PAUSE_SECONDS)
            except Exception:
                logger.exception("a cycle failed")
                stop.wait(DEFECT_SECONDS)
            self.wake.clear()
        self.close()

    def turn(self) -> bool:
        """A cycle, or none while the database is away: nothing is decided then."""
        try:
            return self.cycle()
        except DatabaseUnavailable as error:
            logger.warning("the database is away: %s", error.message)
            self._lease = None
            return False

    def close(self) -> None:
        self.means.effects.close()
        if self._lease is not None:
            try:
                self.rows.leases.release(self._lease)
            except DatabaseUnavailable:
                logger.warning("the lease is left to expire: the database is away")
            self._lease = None

    def cycle(self) -> bool:
        """One round; true where something was changed, so that another one should follow."""
        now = self.means.clock()
        # 1. One decides.
        if not self._hold_lease(now):
            self.machines.watch(self.means.place.backends, self.means.effects, now)
            return False
        # 2. What there is, and what earlier acts have found out.
        live: Live = {job.id: (job, attempt) for job, attempt in self.rows.jobs.live()}
        learned = self._learn(now)
        self._knowledge.keep_only(live.values())
        # 3. Each job's next step.
        blocked, failed = self._dependencies.of(live)
        changed = [
            self._step(job, attempt, failed.get(job.id), now) for job, attempt in live.values()
        ]
        for job, attempt in filter(None, changed):
            live[job.id] = (job, attempt)
        moved = any(changed)
        # 4. What was given up while nobody could be asked about it.
        self._abandoned.sweep(self.means.place, self.means.effects, self._term, now)
        # 5. Who starts, and who gives way.
        self.machines.ask(self.means.place.backends, self.means.effects, now)
        waiting = frozenset(id for id, (job, _) in live.items() if job.state is JobState.QUEUED)
        is_news = moved or learned or waiting != self._waiting  # whoever comes is not kept waiting
        if is_news or now >= self._schedule_at:
            self._schedule_at, self._waiting = now + SCHEDULE_SECONDS, waiting
            moved |= self._schedule(live, blocked, now)
        # 6. What has outlived its time, and nobody waits for, and of which nothing may still run.
        needed = {name for job, _ in live.values() for name in job.after}
        needed |= {job.id for job, _ in self._abandoned.all}
        self._expiry.sweep(needed, self.means.place, self.means.effects, self._term, now)
        return moved

    # The lease

    def _hold_lease(self, now: float) -> bool:
        leases = self.rows.leases
        is_fresh = self._renew_at - RENEW_SECONDS <= now < self._renew_at  # clocks are set back
        if self._lease is not None and is_fresh:
            return True
        if self._lease is not None:
            self._lease = leases.renew(self._lease)
        if self._lease is None:
            self._lease = leases.acquire(LEASE, self.holder, LEASE_SECONDS)
            self._begin_anew()
        self._renew_at = now + RENEW_SECONDS
        return self._lease is not None

    @property
    def _term(self) -> int:
        assert self._lease is not None, "only the leader acts"
        return self._lease.token

    # What acts found out

    def _learn(self, now: float) -> bool:
        results = self.means.effects.finished()
        assert self._lease is not None, "only the leader learns"
        for key, result in results:
            if isinstance(result, Exception) and not isinstance(result, OrchestratorError):
                logger.error("%s of %s failed", key.act, key.job, exc_info=result)
            if key.act is Act.COUNT:
                self.machines.learn(key.job, result)
            elif key.term != self._term:
                continue  # begun before another process led: it may be no longer so
            elif key.act is Act.SWEEP:
                self._abandoned.learn(key, result, self._lease, now)
            elif key.act is Act.CLEAR:
                self._expiry.learn(key, result)
            else:
                self._knowledge.learn(key, result, now)
                if isinstance(result, Concluded) and result.lost_nodes:
                    self.machines.ask_soon()
        return bool(results)

    # One job

    def _step(
        self, job: Job, attempt: Attempt | None, failed: str | None, now: float
    ) -> tuple[Job, Attempt | None] | None:
        """Applies the next decision about a job; the job as changed, if it was."""
        busy = self.means.effects.under_way(job.id, job.attempt)
        view = View(job, attempt, self._knowledge.of(job), busy, failed)
        try:
            decision = decide(view, now, self.means.policy)
            for act in decision.acts:
                self._begin(act, view, now)
            return self._move(job, attempt, decision.move, now) if decision.move else None
        except DatabaseUnavailable:
            raise
        except Exception:
            if (job.id, job.version) not in self._defective:
                self._defective.add((job.id, job.version))
                logger.exception("nothing could be decided about %s", job.id)
            return None

    def _begin(self, act: Act, view: View, now: float) -> None:
        job, attempt, known, place = view.job, view.attempt, view.known, self.means.place
        assert attempt is not None
        if act is Act.RENEW:
            self._renew_token(job, attempt)
            return
        if act is Act.LAUNCH:
            assert known.token is not None
            work: Callable[[], object] = partial(acts.launch, place, job, attempt, known.token)
        elif act is Act.LOOK:
            work = partial(acts.look, place, attempt)
        elif act is Act.STOP:
            attempt = attempt.model_copy(update={"stop_asked_at": now})
            work = partial(acts.stop, place, attempt)
        else:
            seen = known.seen or Observation(AttemptStatus.ABSENT)
            work = partial(acts.conclude_attempt, place, job, attempt, seen, known.launch_error)
        if act in _COMMITTED and not self._may_act(job, attempt):
            return
        self.means.effects.start(Key(job.id, attempt.number, act, self._term), work)

    def _may_act(self, job: Job, attempt: Attempt) -> bool:
        """Whether the job is still as it was seen, and this process still leads."""
        return self.rows.jobs.apply(JobChange(job, {}, None, attempt), self._lease) is not None

    def _renew_token(self, job: Job, attempt: Attempt) -> None:
        """Nothing was launched with the token that was lost with its maker: another one is safe."""
        token = self.means.token()
        change = JobChange(job, {}, None, attempt, sha256(token))
        if self.rows.jobs.apply(change, self._lease) is not None:
            self._knowledge.update(job, token=token, seen=None)

    def _move(
        self, job: Job, attempt: Attempt | None, move: Move, now: float
    ) -> tuple[Job, Attempt | None] | None:
        state = move.state or job.state
        updates: dict[str, Any] = dict(move.updates)
        if move.state is not None:
            updates |= {
                "state": state,
                "reason": move.reason,
                "message": move.message,
                "changed_at": now,
            }
        if attempt is not None and move.attempt is not None:
            attempt = attempt.model_copy(update=dict(move.attempt))
        event = Event(
            time=now,
            job=job.id,
            attempt=job.attempt or None,
            kind=move.kind,
            state=state,
            reason=move.reason,
            message=move.message,
        )
        change = JobChange(job, updates, event, attempt if move.attempt is not None else None)
        after = self.rows.jobs.apply(change, self._lease)
        return (after, attempt) if after is not None else None

    # Scheduling

    def _schedule(self, live: Live, blocked: Mapping[str, Wait], now: float) -> bool:
        waits = any(job.state is JobState.QUEUED for job, _ in live.values())
        told = self.machines.told
        if not waits or told.keys() != self.means.place.backends.keys():
            return False  # a backend that was not heard of yet is no reason to say "never fits"
        decisions = plan(
            snapshot(
                live.values(),
                nodes_of(told, self._abandoned.all),
                self.rows.queues.list(),
                blocked,
                now,
                self.means.scheduling,
            )
        )
        admitted = [self._admit(live[admit.job][0], admit, now) for admit in decisions.admissions]
        for preempt in decisions.preemptions:
            job, attempt = live[preempt.job]
            move = preempted(View(job, attempt, self._knowledge.of(job)), preempt.reason, now)
            self._move(job, attempt, move, now)
        self._tell_waits(live, decisions)
        return any(admitted) or bool(decisions.preemptions)

    def _admit(self, job: Job, admit: Admit, now: float) -> bool:
        token = self.means.token()
        number = job.attempt + 1
        attempt = Attempt(
            job=job.id,
            number=number,
            backend=admit.placement[0].backend,
            placement=admit.placement,
            created_at=now,
        )
        where = told_place(admit.placement, job.demand)
        updates = {
            "state": JobState.STARTING,
            "reason": Reason.LAUNCHED,
            "message": "",
            "changed_at": now,
            "attempt": number,
            "not_before": None,
            "waits": (),
        }
        event = Event(
            time=now,
            job=job.id,
            attempt=number,
            kind="StateChanged",
            state=JobState.STARTING,
            reason=Reason.LAUNCHED,
            message=f"attempt {number}: {where}",
        )
        change = JobChange(job, updates, event, attempt, sha256(token))
        after = self.rows.jobs.apply(change, self._lease)
        if after is None:
            return False
        self._knowledge.meet(after, Known(token=token))
        return True

    def _tell_waits(self, live: Live, decisions: Decisions) -> None:
        changes = [
            JobChange(live[job][0], {"waits": waits})
            for job, waits in decisions.waits.items()
            if live[job][0].waits != waits
        ]
        if changes:
            self.rows.jobs.apply_many(changes, self._lease)


_COMMITTED = (Act.LAUNCH, Act.STOP)
"""Acts that change what runs: whoever has lost the lease must not begin them."""


def sha256(secret: str) -> str:
    """How secrets are kept, hex."""
    return hashlib.sha256(secret.encode()).hexdigest()
