"""What a service costs its users: `python -m benchmarks.service [--jobs 10000] [--database URL]`.

Starts `orchestrator serve` as a process of its own on fake machines and asks it over HTTP, first
with 100 finished jobs in its rows and then with many. Prints, for each kind of request, its p95
with many and the ratio to the baseline, the same request with 100: what grows with finished jobs
is a defect. Followers are compared with one follower, and every kind with `whoami`, which does
nothing but ask who asks. Ratios are of one run, because a machine's speed drifts.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import httpx
import psutil

from orchestrator.control.store import Database, JobChange, Jobs
from orchestrator.interfaces.wire import API
from orchestrator.records import Event, Job, JobDocuments, JobState, Reason, Role
from orchestrator.records.ids import job_id
from tests.control.service.people import User, token_of
from tests.control.service.process import ServerProcess

FEW = 100
ROUNDS = 30
CLIENTS = 8
FOLLOWERS = 50
BEATS = 10
TEAM = "vision"


@dataclass(frozen=True, slots=True)
class Seconds:
    """Of one kind of request."""

    each: list[float]
    per_second: float  # with several clients at once

    @property
    def p50(self) -> float:
        return median(self.each)

    @property
    def p95(self) -> float:
        return sorted(self.each)[int(len(self.each) * 0.95)]


Ask = Callable[[User, int], httpx.Response]
KINDS: dict[str, Ask] = {
    "whoami": lambda user, n: user.ask("GET", "/whoami"),
    "one job": lambda user, n: user.ask("GET", f"/jobs/{user.files['job']}"),
    "list": lambda user, n: user.ask("GET", "/jobs?limit=100"),
    "list by state": lambda user, n: user.ask("GET", "/jobs?state=RUNNING&limit=100"),
    "list by label": lambda user, n: user.ask("GET", "/jobs?label=number=7&limit=100"),
    "list by name": lambda user, n: user.ask("GET", "/jobs?name=seldom&limit=100"),
    "list by user": lambda user, n: user.ask("GET", "/jobs?created_by=nobody&limit=100"),
    "list by queue": lambda user, n: user.ask("GET", "/jobs?queue=other&limit=100"),
    "events": lambda user, n: user.ask("GET", "/events?last=100"),
    "queues": lambda user, n: user.ask("GET", "/queues"),
    "submit": lambda user, n: _submitted(user, n),
}


def _submitted(user: User, number: int) -> httpx.Response:
    body = {"spec": user.spec(f"bench-{number}", number, scheduling={"queue": "paused"})}
    return user.ask("POST", "/jobs", json=body)


# The service


@contextmanager
def served(folder: Path, address: str) -> Iterator[tuple[ServerProcess, Database, User]]:
    toy = {"kind": "fake", "num_nodes": 4, "cpus_per_node": 8, "seconds": 1.0}
    settings = {
        "state_dir": str(folder / "state"),
        "cache_dir": str(folder / "cache"),
        "store": str(folder / "store"),
        "database": address,
        "metrics_access": "open",
        "backends": json.dumps({"toy": toy}),
    }
    server = ServerProcess(folder, settings)
    server.start()
    try:
        server.wait()
        database = Database.open(address)
        admin = User("ops", token_of(database, "ops", Role.ADMIN), [server.url], random.Random(0))
        admin.ask("PUT", "/queues/paused", json={"is_paused": True})
        user = User(TEAM, token_of(database, TEAM), [server.url], random.Random(0))
        user.prepare(folder)
        yield server, database, user
        database.close()
    finally:
        server.kill()


def finished_jobs(database: Database, model: tuple[Job, JobDocuments], numbers: range) -> None:
    """Rows of jobs that ended long ago, as the first one was submitted."""
    jobs = Jobs(database)
    first, documents = model
    numbered = iter(numbers)
    while some := [number for number, _ in zip(numbered, range(500), strict=False)]:
        with database.transaction():
            for number in some:
                id = job_id(1_700_000_000.0 + number, number.to_bytes(10))
                labels = {"number": str(number % 1000)}
                update = {"id": id, "labels": labels, "identity": f"{number:064}", "name": "old"}
                job = first.model_copy(update={**update, "queue": "default", "version": 1})
                event = _event(job, JobState.QUEUED, Reason.SUBMITTED, "Created")
                jobs.add(job, documents.model_copy(update={"job": id}), event)
                ended = {
                    "state": JobState.CANCELLED,
                    "reason": Reason.CANCELLED,
                    "finished_at": 1.0,
                }
                event = _event(job, JobState.CANCELLED, Reason.CANCELLED, "StateChanged")
                jobs.apply(JobChange(job, ended, event))


def _event(job: Job, state: JobState, reason: Reason, kind: str) -> Event:
    return Event(time=1.0, job=job.id, kind=kind, state=state, reason=reason)


# Requests


def measured(user: User, others: Sequence[User], ask: Ask, seeds: Iterator[int]) -> Seconds:
    each = []
    for _ in range(ROUNDS):
        number = next(seeds)
        begun = time.perf_counter()
        answer = ask(user, number)
        each.append(time.perf_counter() - begun)
        assert answer.is_success, answer.text
    numbers = [next(seeds) for _ in range(ROUNDS)]
    begun = time.perf_counter()
    with ThreadPoolExecutor(len(others)) as pool:
        list(pool.map(lambda n: ask(others[n % len(others)], n), numbers))
    return Seconds(each, ROUNDS / (time.perf_counter() - begun))


def all_kinds(user: User, seeds: Iterator[int]) -> dict[str, Seconds]:
    others = [User(user.team, user.secret, user.urls, user.chance) for _ in range(CLIENTS)]
    for other in others:
        other.files = user.files
    return {kind: measured(user, others, ask, seeds) for kind, ask in KINDS.items()}


# Followers


async def _heard(user: User, count: int) -> list[float]:
    """Seconds from the answer to a change until each of `count` followers has heard of it."""
    heard: asyncio.Queue[float] = asyncio.Queue()
    ready = asyncio.Barrier(count + 1)
    headers = _following(user)
    limits = httpx.Limits(max_connections=count + 10)

    async with httpx.AsyncClient(
        base_url=user.urls[0], headers=headers, limits=limits, timeout=60, trust_env=False
    ) as client:

        async def follow() -> None:
            async with client.stream("GET", f"{API}/events") as answer:
                lines = answer.aiter_lines()
                await anext(lines)
                await ready.wait()
                async for line in lines:
                    if line.startswith("data: "):
                        heard.put_nowait(time.perf_counter())

        tasks = [asyncio.create_task(follow()) for _ in range(count)]
        await ready.wait()
        found = []
        for beat in range(BEATS):
            verb = "suspend" if beat % 2 == 0 else "resume"
            path = f"{API}/jobs/{user.files['waiting']}/{verb}"
            answer = await client.post(path, headers={"Accept": "application/json"})
            assert answer.is_success, answer.text
            begun = time.perf_counter()
            found += [await heard.get() - begun for _ in range(count)]
        for task in tasks:
            task.cancel()
    return found


def _following(user: User) -> dict[str, str]:
    return {"Authorization": f"Bearer {user.secret}", "Accept": "text/event-stream"}


def idle_cpu(server: ServerProcess, user: User, count: int, seconds: float = 5.0) -> float:
    """Share of a core that `count` followers cost while nothing happens."""

    async def follow() -> float:
        headers = _following(user)
        limits = httpx.Limits(max_connections=count + 10)
        async with httpx.AsyncClient(headers=headers, limits=limits, trust_env=False) as client:

            async def one() -> None:
                async with client.stream("GET", f"{user.urls[0]}{API}/events") as answer:
                    async for _ in answer.aiter_lines():
                        pass

            tasks = [asyncio.create_task(one()) for _ in range(count)]
            await asyncio.sleep(1.0)
            process = psutil.Process(server.pid)
            before = sum(process.cpu_times()[:2])
            await asyncio.sleep(seconds)
            used: float = sum(process.cpu_times()[:2]) - before
            for task in tasks:
                task.cancel()
        return used / seconds

    return asyncio.run(follow())


def cycle_seconds(server: ServerProcess) -> tuple[float, float]:
    """Sum and number of the controller's cycles so far."""
    text = httpx.get(f"{server.url}/metrics", trust_env=False).text
    told = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    name = "orchestrator_cycle_seconds"
    return float(told[f"{name}_sum"]), float(told[f"{name}_count"])


def mean_cycle(server: ServerProcess) -> float:
    """Of the cycles of the next seconds."""
    total, count = cycle_seconds(server)
    time.sleep(4.0)
    later, more = cycle_seconds(server)
    return (later - total) / max(1.0, more - count)


# All of it


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--jobs", type=int, default=10_000, help="finished ones")
    parser.add_argument("--database", help="absent: SQLite")
    asked = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="service-") as name:
        folder = Path(name)
        address = asked.database or f"sqlite:///{folder}/rows.db"
        with served(folder, address) as (server, database, user):
            _compare(server, database, user, asked.jobs)
    return 0


def _compare(server: ServerProcess, database: Database, user: User, many: int) -> None:
    seeds = iter(range(1, 10**9))
    job = Job.model_validate(_submitted(user, 0).json()["job"])
    user.files["job"] = user.files["waiting"] = job.id
    documents = Jobs(database).documents(job.id)
    assert documents is not None
    finished_jobs(database, (job, documents), range(FEW))
    baseline, cycle = all_kinds(user, seeds), mean_cycle(server)
    finished_jobs(database, (job, documents), range(FEW, many))
    found, later = all_kinds(user, seeds), mean_cycle(server)
    floor = found["whoami"].p50
    print(f"{many} finished jobs; baseline: the same request with {FEW}")
    print(f"{'':14} {'per s':>7} {'p50 ms':>8} {'p95 ms':>8} {'p95/base':>9} {'p50/whoami':>11}")
    for kind, seconds in found.items():
        ratio = seconds.p95 / baseline[kind].p95
        print(
            f"{kind:14} {seconds.per_second:7.0f} {seconds.p50 * 1e3:8.1f} "
            f"{seconds.p95 * 1e3:8.1f} {ratio:9.2f} {seconds.p50 / floor:11.1f}"
        )
    print(f"{'cycle':14} {'':7} {later * 1e3:8.1f} {'':8} {later / cycle:9.2f}")
    one, all_ = (sorted(asyncio.run(_heard(user, count))) for count in (1, FOLLOWERS))
    print(
        f"an event is heard within {_p95(all_) * 1e3:.0f} ms by 95 of 100 of {FOLLOWERS} "
        f"followers; baseline: one follower, x {_p95(all_) / _p95(one):.2f}"
    )
    idle, busy = idle_cpu(server, user, 1), idle_cpu(server, user, FOLLOWERS)
    print(
        f"{FOLLOWERS} followers of whom none hears anything: {busy:.2f} of a core; "
        f"baseline: one follower, {idle:.2f}"
    )


def _p95(ordered: Sequence[float]) -> float:
    return ordered[int(len(ordered) * 0.95)]


if __name__ == "__main__":
    sys.exit(main())
