"""People: they submit jobs, and change their minds, as the API lets them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

from orchestrator.control.controller import verbs
from orchestrator.control.controller.submission import Ground
from orchestrator.control.store import Jobs
from orchestrator.errors import Conflict, DatabaseUnavailable, NotFound
from orchestrator.records import (
    Demand,
    Event,
    Goal,
    Identity,
    Job,
    JobDocuments,
    Principal,
    Reason,
    Role,
)
from orchestrator.records.ids import job_id
from orchestrator.specs import EngineSpec, FineTune
from tests.control.builders import RUN, resolved_spec
from tests.control.simulation.store import URL

if TYPE_CHECKING:
    from tests.control.simulation.world import World

ADA = Principal(name="ada", team="vision", role=Role.ADMIN)
CORES_PER_WORKER = 2


@dataclass(frozen=True, slots=True)
class Nature:
    """What a job would do if nothing went wrong around it."""

    steps: int
    tick_seconds: float
    micro_limit: int = 16  # the largest micro batch that fits; twice as much when recomputing
    end: Reason = Reason.COMPLETED

    def fits(self, engine: EngineSpec) -> bool:
        micro = engine.micro_batch_size
        assert micro is not None
        return micro <= self.micro_limit * (2 if engine.gradient_checkpointing else 1)


@dataclass
class Users:
    """Everybody who has an account."""

    world: World
    natures: dict[str, Nature] = field(default_factory=dict)
    documents: dict[str, JobDocuments] = field(default_factory=dict)
    asked: dict[str, set[Goal]] = field(default_factory=dict)
    until: float = 0.0

    def arrive(self, jobs: int, until: float) -> None:
        """So many jobs are submitted, and people meddle until then."""
        self.until = until
        chance, time = self.world.chance, self.world.time
        for _ in range(jobs):
            time.after(chance.choice((0.0, chance.uniform(0, until / 2))), self._submit)
        if chance.random() < 0.6:
            time.after(chance.uniform(5.0, 40.0), self._meddle)

    # Submitting.

    def _submit(self) -> None:
        chance, now = self.world.chance, self.world.time.now
        workers = chance.choice((1, 1, 1, 2, 2, 3))
        name = chance.choice(("camera", "news"))
        id = job_id(now, chance.randbytes(10))
        # One in a while names a job that is there; now and then more than one.
        earlier = [id for id in self.natures if self.world.promises.knows(id)]
        after = tuple(chance.sample(earlier, 1)) if earlier and chance.random() < 0.25 else ()
        job = Job(
            id=id,
            name=name,
            team=chance.choice(("vision", "speech")),
            created_by="ada",
            queue=chance.choice(("default", "default", "small")),
            priority=chance.choice((0, 0, 0, 10, 20)),
            created_at=now,
            changed_at=now,
            queued_at=now,
            demand=Demand(
                workers=workers,
                cpus_per_worker=CORES_PER_WORKER,
                fewer=tuple(range(workers - 1, 0, -1)) if chance.random() < 0.4 else (),
                patience_seconds=chance.choice((0.0, 20.0)),
            ),
            estimated_seconds=chance.choice((None, 60.0)),
            after=after,
            pre_running_seconds=120.0 if chance.random() < 0.05 else None,
            active_seconds=40.0 if chance.random() < 0.05 else None,
            ttl_seconds_after_finished=60.0 if chance.random() < 0.1 else None,
            identity=id,
            store=URL,
        )
        documents = _documents(workers, name).model_copy(update={"job": id})
        self.natures[id] = self._nature()
        self.documents[id] = documents
        event = Event(time=now, job=id, kind="Created", state=job.state, reason=Reason.SUBMITTED)
        self._try(lambda: self.world.rows.jobs.add(job, documents, event) and None)
        self.world.say(
            f"{self.world.name(id)} submitted: {workers} workers, priority {job.priority}, queue "
            f"{job.queue}, after {[self.world.name(a) for a in after]}, {self.natures[id]}"
        )

    def _nature(self) -> Nature:
        chance = self.world.chance
        end = Reason.COMPLETED
        if chance.random() < 0.1:
            end = chance.choice((Reason.USER_ERROR, Reason.DIVERGED))
        limit = chance.choice((*[16] * 8, 4, 0))
        return Nature(chance.choice((10, 20, 40)), chance.choice((1.0, 3.0, 6.0)), limit, end)

    # Changing.

    def _meddle(self) -> None:
        chance = self.world.chance
        if self.natures and self.world.time.elapsed < self.until:
            job = chance.choice(list(self.natures))
            verb = chance.choice((self.cancel, self.suspend, self.resume, self.resume, self.retry))
            self._try(lambda: verb(job))
        if self.world.time.elapsed < self.until:
            self.world.time.after(chance.uniform(2.0, 40.0), self._meddle)

    def cancel(self, id: str) -> None:
        self._noted(id, Goal.CANCEL, lambda now: verbs.cancel(self._jobs, id, ADA, now))

    def suspend(self, id: str) -> None:
        self._noted(id, Goal.SUSPEND, lambda now: verbs.suspend(self._jobs, id, ADA, now))

    def resume(self, id: str) -> None:
        ground = cast(Ground, SimpleNamespace(jobs=self._jobs))
        self._noted(id, None, lambda now: verbs.resume(ground, id, (), ADA, now))

    def retry(self, id: str) -> None:
        self._noted(id, None, lambda now: verbs.retry(self._jobs, id, ADA, now))

    @property
    def _jobs(self) -> Jobs:
        return self.world.rows.jobs

    def _noted(self, id: str, goal: Goal | None, verb: Callable[[float], Job]) -> None:
        try:
            job = verb(self.world.time.now)
        except (Conflict, NotFound):
            return  # it has ended, or is on its way there
        if goal is not None:
            self.asked.setdefault(id, set()).add(goal)
        self.world.promises.written()
        told = f"asked to {goal}" if goal else "wanted again"
        self.world.say(f"{self.world.name(id)} {told}, is {job.state}")

    def _try(self, verb: object) -> None:
        """Again until the database answers, as people do."""
        try:
            self.world.check_database()
            verb()  # type: ignore[operator]
        except DatabaseUnavailable:
            self.world.time.after(2.0, lambda: self._try(verb))


@cache
def _spec(workers: int, name: str) -> FineTune:
    return resolved_spec(
        resources={"workers": workers, "cpus_per_worker": CORES_PER_WORKER},
        output={"store": URL, "name": name},
    )


@cache
def _documents(workers: int, name: str) -> JobDocuments:
    identity = Identity(run=RUN, data={}, base="bb", recipe="1")
    return JobDocuments(
        job="", written="kind: FineTune\n", spec=_spec(workers, name), identity=identity
    )
