"""Every metric of the service, declared once: what Prometheus scrapes at `/metrics`.

Made by `server` with each process it wires; the API and the controller write into it. Labels have
few values: states, reasons, queues and routes, never a job, a user or a path as it was asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from orchestrator.errors import OrchestratorError

__all__ = ["CONTENT_TYPE_LATEST", "Counts", "Metrics"]

PREFIX = "orchestrator"
REQUEST_BUCKETS = (0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
CYCLE_BUCKETS = (0.001, 0.005, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.5, 5.0, 10.0)
OUTSIDE = "none"
"""Route of a request that no route answers: strangers choose paths freely."""


@dataclass(frozen=True, slots=True)
class Counts:
    """What is counted when somebody asks."""

    jobs: Mapping[tuple[str, str], int]  # (queue, state) -> jobs that are not at an end
    nodes: Mapping[tuple[str, bool], int]  # (backend, whether it is alive) -> machines


Look = Callable[[], Counts]


@dataclass(frozen=True)
class Metrics:
    """Those of one process, in a registry of their own."""

    registry: CollectorRegistry = field(default_factory=CollectorRegistry)
    requests: Histogram = field(init=False)
    cycles: Histogram = field(init=False)
    failed_cycles: Counter = field(init=False)
    leads: Gauge = field(init=False)
    changes: Counter = field(init=False)

    def __post_init__(self) -> None:
        declared = {
            "requests": Histogram(
                f"{PREFIX}_request_seconds",
                "Time from a request to the head of its answer.",
                ("method", "route", "status"),
                buckets=REQUEST_BUCKETS,
                registry=self.registry,
            ),
            "cycles": Histogram(
                f"{PREFIX}_cycle_seconds",
                "Time of one cycle of the controller while it leads.",
                buckets=CYCLE_BUCKETS,
                registry=self.registry,
            ),
            "failed_cycles": Counter(
                f"{PREFIX}_failed_cycles",
                "Cycles that were broken off: the database was away, or a defect.",
                registry=self.registry,
            ),
            "leads": Gauge(
                f"{PREFIX}_leader",
                "1 where this process decides, 0 where it stands by.",
                registry=self.registry,
            ),
            "changes": Counter(
                f"{PREFIX}_job_changes",
                "Changes of state that this process's controller decided, by the new state.",
                ("state", "reason"),
                registry=self.registry,
            ),
        }
        for name, metric in declared.items():
            object.__setattr__(self, name, metric)

    def request(self, method: str, route: str | None, status: int, seconds: float) -> None:
        """A request was answered.

        Args:
            method: As it came; unknown ones are told as one.
            route: The route's own path, with its parameters' names; None: there was none.
            status: Of the answer.
            seconds: Until its head.
        """
        known = method if method in _METHODS else "other"
        labels = (known, route or OUTSIDE, f"{status // 100}xx")
        self.requests.labels(*labels).observe(seconds)

    def counting(self, look: Look) -> None:
        """From now on each scrape asks `look`."""
        self.registry.register(_Counted(look))

    def text(self) -> bytes:
        """All of it, in Prometheus's format."""
        return generate_latest(self.registry)


_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"})


class _Counted(Collector):
    """Counts that are taken when they are asked for."""

    def __init__(self, look: Look) -> None:
        self._look = look

    def describe(self) -> Iterable[Metric]:
        """Without a look: it would be one before there is anything to see."""
        return _families()

    def collect(self) -> Iterator[Metric]:
        try:
            counts = self._look()
        except OrchestratorError:  # the database is away: what is known without it is told
            return
        jobs, nodes = _families()
        for (queue, state), number in sorted(counts.jobs.items()):
            jobs.add_metric((queue, state), number)
        for (backend, is_alive), number in sorted(counts.nodes.items()):
            nodes.add_metric((backend, "yes" if is_alive else "no"), number)
        yield jobs
        yield nodes


def _families() -> tuple[GaugeMetricFamily, GaugeMetricFamily]:
    return (
        GaugeMetricFamily(
            f"{PREFIX}_jobs",
            "Jobs that are not at an end, by queue and state; QUEUED is the depth of the queue.",
            labels=("queue", "state"),
        ),
        GaugeMetricFamily(
            f"{PREFIX}_nodes",
            "Machines as the leader last saw them.",
            labels=("backend", "alive"),
        ),
    )
