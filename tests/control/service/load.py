"""Two hundred jobs of five teams through a service whose servers are killed at random.

Run by `test_service` at a modest size and by `__main__` at any. Afterwards `checks` asks rows,
store and machines whether each job reached its right end exactly once.
"""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from orchestrator.control.store import Database
from orchestrator.interfaces.wire import API
from orchestrator.records import Event, JobState, Reason, Role
from tests.control.service.outages import Outage
from tests.control.service.people import User, token_of
from tests.control.service.process import ServerProcess

TEAMS = ("vision", "text", "speech", "search", "maps")


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of job: what its machines do with it, and how it must end."""

    share: float
    state: JobState
    reason: Reason
    attempts: int
    fails: Reason | None = None
    engine: dict[str, Any] | None = None


KINDS = {
    "good": Kind(0.7, JobState.SUCCEEDED, Reason.COMPLETED, 1),
    "wrong": Kind(0.1, JobState.FAILED, Reason.USER_ERROR, 1, Reason.USER_ERROR),
    # One rung of the memory ladder is left, and none.
    "large": Kind(
        0.05,
        JobState.FAILED,
        Reason.OUT_OF_MEMORY,
        2,
        Reason.OUT_OF_MEMORY,
        {"micro_batch_size": 1, "zero_stage": 3},
    ),
    "huge": Kind(
        0.05,
        JobState.FAILED,
        Reason.OUT_OF_MEMORY,
        1,
        Reason.OUT_OF_MEMORY,
        {"micro_batch_size": 1, "zero_stage": 3, "gradient_checkpointing": True},
    ),
    # Its user changes his mind before it runs.
    "unwanted": Kind(0.1, JobState.CANCELLED, Reason.CANCELLED, 0),
}


@dataclass(frozen=True, slots=True)
class Load:
    """How much, and on what."""

    jobs: int
    address: str  # of the database; may name {folder}
    servers: int = 1
    seed: int = 0
    seconds: float = 1.0  # an attempt takes
    end_seconds: float = 240.0  # all is over by then


@dataclass
class Lived:
    """What came of it."""

    load: Load
    folder: Path
    users: list[User]
    ids: dict[str, str] = field(default_factory=dict)  # name of a job -> id
    again: dict[str, str] = field(default_factory=dict)  # the same, submitted once more at the end
    events: list[Event] = field(default_factory=list)  # as one follower heard them
    killed: int = 0
    takeovers: list[float] = field(default_factory=list)
    seconds: float = 0.0


@contextmanager
def live_through(
    load: Load, folder: Path, outage: Callable[[list[ServerProcess], Lived], Outage]
) -> Iterator[tuple[Lived, Database]]:
    """Everything from the first submit to the last end; the rows are open within the block."""
    chance = random.Random(load.seed)
    address = load.address.format(folder=folder)
    servers = [
        ServerProcess(folder, _settings(load, folder, address), f"server-{number}")
        for number in range(load.servers)
    ]
    with ExitStack() as stack:
        for server in servers:
            stack.callback(server.kill)
            server.start()
        for server in servers:
            server.wait()
        database = Database.open(address)
        stack.callback(database.close)
        urls = [server.url for server in servers]
        users = [
            User(team, token_of(database, team), urls, random.Random(chance.random()))
            for team in TEAMS
        ]
        lived = Lived(load, folder, users)
        admin = User("ops", token_of(database, "ops", Role.ADMIN, "root"), urls, chance)
        admin.ask("PUT", "/queues/paused", json={"is_paused": True})
        follower = Follower(admin, lived)
        stack.callback(follower.stop.set)
        with outage(servers, lived):
            _live(lived, follower, chance)
        yield lived, database


def _live(lived: Lived, follower: Follower, chance: random.Random) -> None:
    begun = time.monotonic()
    follower.start()
    with ThreadPoolExecutor(len(TEAMS)) as pool:
        list(pool.map(lambda user: user.prepare(lived.folder), lived.users))
        # 1. Each user hands his share over while servers are killed.
        tasks = list(_submissions(lived, chance))
        done = pool.map(_submitted, tasks)
        lived.ids = {name: id for name, id in done if id}
        # 2. All end.
        for user in lived.users:
            _wait_for_ends(user, begun + lived.load.end_seconds)
        # 3. The answers might all have been lost: the same keys give the same jobs.
        lived.again = dict(pool.map(_submitted, tasks))
    lived.seconds = time.monotonic() - begun
    follower.finish()


Task = tuple[User, str, int, Kind]


def _submissions(lived: Lived, chance: random.Random) -> Iterator[Task]:
    names = [
        kind
        for kind, about in KINDS.items()
        for _ in range(max(1, round(about.share * lived.load.jobs)))
    ]
    chance.shuffle(names)
    for number, kind in enumerate(names):
        user = lived.users[number % len(lived.users)]
        yield user, f"{kind}-{number}", number, KINDS[kind]


def _submitted(task: Task) -> tuple[str, str]:
    user, name, seed, kind = task
    sections: dict[str, Any] = {"engine": kind.engine} if kind.engine else {}
    if kind.attempts == 0:
        # It waits for a queue that admits nothing.
        sections["scheduling"] = {"queue": "paused"}
    id = user.submit(name, seed, **sections)
    if kind.attempts == 0 and id:
        answer = user.ask("POST", f"/jobs/{id}/cancel")
        assert answer.is_success, answer.text
    return name, id


def _wait_for_ends(user: User, until: float) -> None:
    while True:
        states = [(job["name"], job["state"]) for job in user.all_of("/jobs")]
        waiting = [found for found in states if not JobState(found[1]).is_terminal]
        if not waiting:
            return
        if time.monotonic() > until:
            raise TimeoutError(f"{user.team}: not at an end: {waiting}")
        time.sleep(0.3)


class Follower:
    """Follows all events over every outage, from the last one it heard of."""

    def __init__(self, admin: User, lived: Lived) -> None:
        self.stop = threading.Event()
        self._admin = admin
        self._lived = lived
        self._after = 0
        self._thread = threading.Thread(target=self._follow, name="follower", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def finish(self) -> None:
        """When nothing more comes, what came is whole."""
        newest = self._admin.all_of("/events")[-1]["id"]
        until = time.monotonic() + 30
        while self._after < newest and time.monotonic() < until:
            time.sleep(0.05)
        self.stop.set()

    def _follow(self) -> None:
        while not self.stop.is_set():
            try:
                self._listen()
            except httpx.TransportError:
                self.stop.wait(0.1)

    def _listen(self) -> None:
        url = self._admin.chance.choice(list(self._admin.urls))
        headers = {"Accept": "text/event-stream", "Last-Event-ID": str(self._after)}
        with (
            httpx.Client(headers=self._admin.client.headers, trust_env=False, timeout=20) as own,
            own.stream("GET", f"{url}{API}/events", headers=headers) as answer,
        ):
            if not answer.is_success:
                self.stop.wait(0.1)
                return
            for line in answer.iter_lines():
                if line.startswith("data: "):
                    event = Event.model_validate(json.loads(line.removeprefix("data: ")))
                    self._lived.events.append(event)
                    self._after = event.id or 0
                if self.stop.is_set():
                    return


def _settings(load: Load, folder: Path, address: str) -> dict[str, str]:
    toy = {
        "kind": "fake",
        "num_nodes": 2,  # most jobs wait for a while
        "cpus_per_node": 8,
        "seconds": load.seconds,
        "fails": {f"{name}-*": str(kind.fails) for name, kind in KINDS.items() if kind.fails},
    }
    return {
        "state_dir": str(folder / "state"),
        "cache_dir": str(folder / "cache"),
        "store": str(folder / "store"),
        "database": address,
        "backends": json.dumps({"toy": toy}),
        "log_level": "INFO",
        "metrics_access": "open",
    }
