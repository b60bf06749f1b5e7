"""What the API works with: one value, made by the composition root and handed to `create_app`."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from orchestrator.control.controller.submission import Ground, team_store
from orchestrator.control.store import Attempts, Audit, Database, Events, Jobs, Queues, Tokens
from orchestrator.inspect.hardware import HardwareFacts, inspect_hardware
from orchestrator.interfaces.api.authentication import Authenticator, authenticator_for
from orchestrator.interfaces.api.board import Board, Nodes
from orchestrator.interfaces.api.reports import Desk
from orchestrator.records import Attempt, Job
from orchestrator.settings import Settings
from orchestrator.storage.registry import ModelRegistry
from orchestrator.telemetry.metrics import Counts, Metrics

FOLLOW_SECONDS = 0.3  # between looks at what followers wait for
HEARTBEAT_SECONDS = 15.0  # proxies close connections on which nothing comes
STREAM_SECONDS = 3600.0  # a follower connects again after so long, and misses nothing


class LogReader(Protocol):
    """What an Attempt has printed."""

    def read(self, job: Job, attempt: Attempt, rank: int | None, offset: int) -> bytes:
        """From a byte on; empty where there is nothing more yet.

        Args:
            job: Whose.
            attempt: One of its Attempts.
            rank: Whose output; None: the driver's.
            offset: In bytes.
        """
        ...


@dataclass(frozen=True, slots=True)
class Service:
    """The rows, what answers besides them, and the operator's numbers."""

    database: Database
    settings: Settings
    jobs: Jobs
    attempts: Attempts
    events: Events
    queues: Queues
    tokens: Tokens
    audit: Audit
    ground: Ground
    authenticator: Authenticator
    desk: Desk
    logs: LogReader
    nodes: Nodes
    board: Board
    metrics: Metrics
    wake: Callable[[], None]  # somebody changed a job: the controller need not wait
    clock: Callable[[], float] = time.time
    stream_seconds: float = STREAM_SECONDS
    closing: threading.Event = field(default_factory=threading.Event)
    """Set while the server stops: streams end, and their followers ask its successor."""

    @classmethod
    def of(  # noqa: PLR0913 (each part is another's to make)
        cls,
        database: Database,
        settings: Settings,
        *,
        desk: Desk,
        logs: LogReader,
        host: str | None = None,
        wake: Callable[[], None] = lambda: None,
        nodes: Nodes = dict,
        hardware: Callable[[Path], HardwareFacts] | None = None,
        metrics: Metrics | None = None,
        clock: Callable[[], float] = time.time,
    ) -> Service:
        """Everything on one database.

        Args:
            database, settings, desk, logs: Rows, the operator's numbers, Reports, output of ranks.
            host: The address that is bound, where it is not the setting's.
            wake: Called after a user has changed a job.
            nodes, hardware: The cluster; without `hardware` this machine runs the jobs.
            metrics, clock: Of this process, absent: some of the API's own; since the epoch.

        Raises SettingsError where nobody would be asked who they are and others could ask.
        """
        jobs, queues, tokens = Jobs(database), Queues(database), Tokens(database)
        board = Board(jobs, queues, nodes, clock)
        metrics = metrics or Metrics()
        metrics.counting(lambda: _counts(board))
        facts, runs_here = hardware or inspect_hardware, hardware is None
        ground = Ground(database, jobs, queues, settings, hardware=facts, runs_here=runs_here)
        return cls(
            database=database,
            settings=settings,
            jobs=jobs,
            attempts=Attempts(database),
            events=Events(database),
            queues=queues,
            tokens=tokens,
            audit=Audit(database),
            ground=ground,
            authenticator=authenticator_for(settings, host or settings.api_host, tokens, clock),
            desk=desk,
            logs=logs,
            nodes=nodes,
            board=board,
            metrics=metrics,
            wake=wake,
            clock=clock,
        )

    def registry(self, team: str) -> ModelRegistry:
        """The models of a team."""
        return ModelRegistry(team_store(self.settings, team))


def _counts(board: Board) -> Counts:
    """What is counted with each scrape; looks are shared with everybody who looks."""
    sight = board.glance()
    return Counts(
        jobs=Counter((job.queue, str(job.state)) for job, _ in sight.live),
        nodes=Counter((node.backend, node.is_alive) for node in sight.nodes),
    )


def cluster_hardware(nodes: Nodes) -> Callable[[Path], HardwareFacts]:
    """Facts for plans about machines elsewhere, from what their backends tell.

    GPUs are left out, since backends do not tell their memory: a plan then compares with none, and
    a job that needs more than there is goes down the ladder of smaller batches.
    """

    def facts(disk_path: Path) -> HardwareFacts:
        here = inspect_hardware(disk_path)
        alive = [node for infos in nodes().values() for node in infos if node.is_alive]
        if not alive:
            return here
        memory = sum(node.memory_bytes for node in alive)
        cpus = max(1, int(sum(node.cpus for node in alive)))
        updates = {"cpus": cpus, "gpus": ()}
        if memory:
            updates |= {"memory_bytes": memory, "available_memory_bytes": memory}
        return here.model_copy(update=updates)

    return facts
