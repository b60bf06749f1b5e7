"""What must hold in every history, told by rules of their own: nothing here asks the controller.

Checked whenever something is launched, formed, stopped or written; and once everything is quiet.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from orchestrator.control.backends.base import AttemptHandle
from orchestrator.records import (
    TRANSITIONS,
    AttemptState,
    Event,
    Goal,
    Job,
    JobState,
    Reason,
    WaitReason,
)
from orchestrator.storage.registry import ModelRegistry

if TYPE_CHECKING:
    from tests.control.simulation.gang import Gang
    from tests.control.simulation.process import Process
    from tests.control.simulation.world import World

S = JobState
HOLDING = (S.STARTING, S.RUNNING, S.STOPPING)
SWEPT_WITHIN_SECONDS = 60.0
"""A gang that was given up while its cluster was away is stopped so soon after it is back."""
TOLD_WITHIN_SECONDS = 6.0  # two cycles, at the pace of `process`

CAUSES: dict[Reason, set[str]] = {
    Reason.WORKER_LOST: {"kill", "node", "restarted", "fall", "memory"},
    Reason.NODE_LOST: {"kill", "node", "restarted", "fall", "lost", "silent"},
    Reason.OUT_OF_MEMORY: {"memory", str(Reason.OUT_OF_MEMORY)},
    Reason.NO_OUTCOME: {"silent"},
    Reason.LAUNCH_FAILED: {"refused"},
    Reason.STORE_UNAVAILABLE: {"store"},
    Reason.USER_ERROR: {str(Reason.USER_ERROR)},
    Reason.DIVERGED: {str(Reason.DIVERGED)},
    Reason.HANG: {"hang"},
}
"""What must have happened to an Attempt for it to fail so."""


class BrokenPromise(BaseException):
    """A promise did not hold. No handler of what is tested may swallow it."""


class Promises:
    """Watches one world."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._states: dict[str, JobState] = {}
        self._newest_event = world.rows.events.newest_id()
        self._resumable: dict[str, int] = {}  # job -> newest step committed by an ended Attempt
        self._refused: set[AttemptHandle] = set()
        self._unseen: dict[AttemptHandle, set[str]] = {}  # why no end was seen
        self._waiting: dict[str, dict[tuple[str, float], float]] = {}  # leader -> job -> since
        self._were: dict[str, set[JobState]] = {}  # job -> every state it was ever in
        self.models: dict[str, set[str]] = {}

    def knows(self, job: str) -> bool:
        """Whether the rows have told of a job."""
        return job in self._states

    # Things that happen to gangs.

    def refused(self, handle: AttemptHandle) -> None:
        self._refused.add(handle)

    def launched(self, gang: Gang) -> None:
        """A gang is placed whole, in one backend."""
        request = gang.request
        placed = sum(part.workers for part in request.placement)
        self._hold(placed == request.workers, f"{gang}: {placed} of {request.workers} placed")
        self._hold(
            all(part.backend == gang.cluster.name for part in request.placement),
            f"{gang}: placed over several backends",
        )

    def formed(self, gang: Gang) -> None:
        """Ranks are there: where there is room for them, and no other gang of the job has any.

        A launch that arrives after its Attempt was given up comes to nothing before it has ranks.
        """
        for machine in gang.cluster.machines:
            used = gang.cluster.held()[machine.name]
            self._hold(used <= machine.cpus, f"{machine.name}: {used} cores of {machine.cpus}")
        self._check_quota()
        self._check_doubles(gang)
        attempts = self._world.rows.attempts.list(gang.request.job)
        states = {attempt.number: attempt.state for attempt in attempts}
        state = states.get(gang.request.attempt)
        self._hold(state is not AttemptState.ENDED, f"{gang}: began after it had ended")

    def resumed(self, gang: Gang) -> None:
        newest = self._resumable.get(gang.request.job, 0)
        self._hold(gang.step >= newest, f"{gang}: began at {gang.step}, {newest} was committed")

    def published(self, gang: Gang, ref: str) -> None:
        self.models.setdefault(gang.request.job, set()).add(ref)

    def stopped(self, gang: Gang) -> None:
        """Nobody ends a gang without a reason that is true."""
        found = self._world.rows.jobs.get(gang.request.job)
        self._hold(found is not None, f"{gang}: stopped, and its job is gone")
        assert found is not None
        if found.attempt != gang.request.attempt or found.state not in HOLDING:
            self._hold(
                self._was_given_up(gang), f"{gang}: stopped, though it was not given up: {found}"
            )
            return
        asked = self._world.users.asked.get(found.id, set())
        right = {
            Goal.CANCEL: Goal.CANCEL in asked,
            Goal.SUSPEND: Goal.SUSPEND in asked,
            Goal.FAIL: (found.active_seconds or found.pre_running_seconds) is not None,
            Goal.REQUEUE: found.goal_reason is Reason.PREEMPTED
            or (gang.is_hanging or gang.is_stuck),
            # It was refused or forgotten, and came up all the same: another request was on its way.
            None: gang.handle in self._refused or not gang.has_ranks,
        }
        self._hold(right[found.goal], f"{gang}: stopped for {found.goal} ({found.goal_reason})")

    def turned(self, process: Process, began: float) -> None:
        """After a cycle: whoever has waited under this leader for a while can say why."""
        controller, now = process.controller, self._world.time.now
        knows_all = controller.means.place.backends.keys() == controller.machines.told.keys()
        stood_still = now - began > 1.0
        if not controller.leads or not knows_all or stood_still:
            self._waiting.pop(process.name, None)
            return
        since = self._waiting.get(process.name, {})
        queued = [
            job
            for job, _ in self._world.rows.jobs.live()
            if job.state is S.QUEUED and job.wanted is None
        ]
        waiting = {(job.id, job.changed_at): job.waits for job in queued}
        self._waiting[process.name] = {key: since.get(key, now) for key in waiting}
        for key, waits in waiting.items():
            id, seconds = key[0], now - self._waiting[process.name][key]
            is_told = bool(waits) or seconds < TOLD_WITHIN_SECONDS
            self._hold(is_told, f"{self._world.name(id)}: waits since {seconds:.0f} s, untold")

    # Things that are written.

    def written(self) -> None:
        """Every change of state is one the table has, with its event."""
        events = self._world.rows.events.list(after_id=self._newest_event)
        for event in events:
            assert event.id is not None
            self._newest_event = event.id
            self._told(event)

    def _told(self, event: Event) -> None:
        world = self._world
        before = self._states.get(event.job)
        self._states[event.job] = event.state
        self._were.setdefault(event.job, set()).add(event.state)
        message = event.message.partition("\n")[0]
        world.say(
            f"  {world.name(event.job)}/a{event.attempt or 0} {event.kind}: "
            f"{before} -> {event.state} ({event.reason}) {message}"
        )
        if before is None:
            self._hold(event.state is S.QUEUED, f"{event}: begins elsewhere")
            return
        if event.state is not before:
            self._hold(event.state in TRANSITIONS[before], f"{event}: {before} -> {event.state}")
        if before in HOLDING and event.state not in HOLDING:
            self._ended(event)

    def _ended(self, event: Event) -> None:
        """An Attempt is over only when its gang is, or when nobody can reach it for long."""
        world = self._world
        assert event.attempt is not None
        self._note_unseen(event.job, event.attempt)
        for gang in self._gangs(event.job):
            if gang.request.attempt != event.attempt:
                continue
            newest = self._resumable.get(event.job, 0)
            if gang.checkpoint_step and gang.is_over:
                self._resumable[event.job] = max(newest, gang.checkpoint_step)
            away = gang.cluster.away_since
            is_lost = away is not None and self._is_long(away, world.time.now)
            self._hold(
                gang.is_over or is_lost or not gang.has_ranks,
                f"{gang}: it is alive, and taken for {event.state} ({event.reason})",
            )
        job = world.rows.jobs.get(event.job)
        self._hold(job is not None and job.state is event.state, f"{event}: the row says else")

    def _note_unseen(self, job: str, number: int) -> None:
        """Whether its cluster was silent for long, or forgot it, since it was decided."""
        attempts = self._world.rows.attempts.list(job)
        attempt = next(attempt for attempt in attempts if attempt.number == number)
        found = self._unseen.setdefault(AttemptHandle(job, number), set())
        cluster = next(c for c in self._world.clusters if c.name == attempt.backend)
        now = self._world.time.now
        if any(attempt.created_at <= at for at in cluster.restarts):
            found.add("restarted")
        for since, until in (*cluster.silences, (cluster.away_since, now)):
            if since is not None and until > attempt.created_at and self._is_long(since, until):
                found.add("lost")

    def _is_long(self, since: float, until: float) -> bool:
        """Whether a silence may have been too long for a controller, as its clock shows it."""
        return until - since >= self._world.policy.unreachable_seconds - 30

    # At the end.

    def are_settled(self) -> bool:
        """Whether nothing is left to do."""
        if any(True for cluster in self._world.clusters for _ in cluster.running()):
            return False
        if self._world.rows.jobs.abandoned():
            return False
        return all(
            job.state is S.SUSPENDED or self._waits_for_people(job)
            for job, _ in self._world.rows.jobs.live()
        )

    def look_back(self) -> None:
        """When faults have stopped, every job reaches its right end and nothing is left."""
        world = self._world
        for cluster in world.clusters:
            left = [str(gang) for gang in cluster.running()]
            self._hold(not left, f"{cluster.name}: left running: {left}")
        for id in world.users.natures:
            job = world.rows.jobs.get(id)
            if job is None:
                self._hold(self._may_be_deleted(id), f"{world.name(id)} is lost")
                continue
            self._hold(self._states[id] is job.state, f"{world.name(id)}: a change without event")
            self._check_attempts(job)
            self._check_end(job)

    # Below: the rules one by one.

    def _hold(self, is_held: bool, what: str) -> None:
        if not is_held:
            self._world.say(f"BROKEN: {what}")
            raise BrokenPromise(what)

    def _gangs(self, job: str) -> list[Gang]:
        return [g for c in self._world.clusters for g in c.all if g.request.job == job]

    def _check_doubles(self, gang: Gang) -> None:
        now = self._world.time.now
        for other in self._gangs(gang.request.job):
            if other is gang or other.is_over or not other.has_ranks:
                continue
            cluster = other.cluster
            is_out_of_reach = (
                cluster.away_since is not None or now < cluster.back_at + SWEPT_WITHIN_SECONDS
            )
            self._hold(is_out_of_reach, f"{gang} runs beside {other}")

    def _check_quota(self) -> None:
        held: Counter[str] = Counter()
        for job, attempt in self._world.rows.jobs.live():
            for gang in self._gangs(job.id):
                is_current = attempt is not None and attempt.number == gang.request.attempt
                if gang.has_ranks and not gang.is_over and is_current:
                    held[job.queue] += gang.request.workers * gang.request.cpus_per_worker
        for queue in self._world.rows.queues.list():
            quota = queue.quota.get("cpu")
            used = held[queue.name]
            self._hold(quota is None or used <= quota, f"{queue.name}: {used} cores of {quota}")

    def _was_given_up(self, gang: Gang) -> bool:
        attempts = self._world.rows.attempts.list(gang.request.job)
        return any(
            a.number == gang.request.attempt
            and a.state in (AttemptState.ENDED, AttemptState.ABANDONED)
            for a in attempts
        )

    def _waits_for_people(self, job: Job) -> bool:
        """It is queued, and nothing but a person can help: it never fits, or waits for such."""
        if job.state is not S.QUEUED or not job.waits:
            return False
        kinds = {wait.reason for wait in job.waits}
        if WaitReason.NEVER_FITS in kinds:
            return True
        if WaitReason.QUOTA in kinds and self._exceeds_quota(job):
            return True
        parents = [self._world.rows.jobs.get(name) for name in job.after]
        return WaitReason.DEPENDENCY in kinds and any(
            parent is not None and (parent.state is S.SUSPENDED or self._waits_for_people(parent))
            for parent in parents
        )

    def _exceeds_quota(self, job: Job) -> bool:
        queue = self._world.rows.queues.get(job.queue)
        assert queue is not None
        needed = min((job.demand.workers, *job.demand.fewer)) * job.demand.cpus_per_worker
        return needed > queue.quota.get("cpu", needed)

    def _may_be_deleted(self, id: str) -> bool:
        return self._states.get(id) in (S.SUCCEEDED, S.FAILED, S.CANCELLED)

    def _check_attempts(self, job: Job) -> None:
        name = self._world.name(job.id)
        attempts = self._world.rows.attempts.list(job.id)
        numbers = [attempt.number for attempt in attempts]
        self._hold(numbers == list(range(1, job.attempt + 1)), f"{name}: attempts {numbers}")
        gangs = self._gangs(job.id)  # of one Attempt several, where a cluster forgot one
        for attempt in attempts:
            outcome = attempt.outcome
            self._hold(attempt.state is AttemptState.ENDED, f"{name}: {attempt} at the end")
            if outcome is None or outcome.state is not S.FAILED:
                continue
            handle = AttemptHandle(job.id, attempt.number)
            of_gangs = (gang.causes for gang in gangs if gang.handle == handle)
            causes = self._unseen.get(handle, set()).union(*of_gangs)
            if handle in self._refused:
                causes.add("refused")
            if outcome.reason is Reason.STORE_UNAVAILABLE:
                causes.add("store")
            known = CAUSES.get(outcome.reason, set())
            self._hold(bool(causes & known), f"{name}: {outcome} without a cause: {causes}")

    def _check_end(self, job: Job) -> None:
        name, goals = self._world.name(job.id), self._world.users.asked.get(job.id, set())
        versions = [
            version
            for version in ModelRegistry(self._world.open_store()).versions(job.name)
            if version.run == job.id
        ]
        self._hold(len(versions) <= 1, f"{name}: published {versions}")
        nature = self._world.users.natures[job.id]
        if job.state is S.SUCCEEDED:
            self._hold(
                [job.model] == [version.ref for version in versions],
                f"{name}: succeeded with {job.model}, published {versions}",
            )
            self._hold(nature.end is Reason.COMPLETED, f"{name}: succeeded against its nature")
        elif job.state is S.FAILED:
            self._check_failure(job)
        elif job.state is S.CANCELLED:
            self._hold(Goal.CANCEL in goals, f"{name}: cancelled by nobody")
        elif job.state is S.SUSPENDED:
            self._hold(Goal.SUSPEND in goals, f"{name}: suspended by nobody")
        else:
            waits = [(wait.reason, wait.message) for wait in job.waits]
            self._hold(self._waits_for_people(job), f"{name}: left {job.state}, {waits}")

    def _check_failure(self, job: Job) -> None:
        name = self._world.name(job.id)
        retries = self._world.policy.rules.get(job.reason)
        if job.reason is Reason.DEPENDENCY_FAILED:
            is_lost = any(
                self._were.get(parent, set()) & {S.FAILED, S.CANCELLED}
                or self._world.rows.jobs.get(parent) is None
                for parent in job.after
            )
            self._hold(is_lost, f"{name}: {job.message}")
        elif job.reason is Reason.DEADLINE_EXCEEDED:
            limit = job.active_seconds or job.pre_running_seconds
            self._hold(limit is not None, f"{name}: {job.message}")
        else:
            assert retries is not None, f"{name}: {job.reason}"
            failed = job.failures.get(job.reason, 0)
            nature = self._world.users.natures[job.id]
            has_no_rung = job.reason is Reason.OUT_OF_MEMORY and nature.micro_limit == 0
            is_rightful = failed == (retries.retries or 0) + 1 or has_no_rung
            self._hold(is_rightful, f"{name}: {job.message}, {job.failures}")
