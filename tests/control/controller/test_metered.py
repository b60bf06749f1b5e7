"""What a server's controller counts of itself."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.control.backends.fake import FakeBackend
from orchestrator.control.controller.metered import MeteredController
from orchestrator.errors import DatabaseUnavailable
from orchestrator.telemetry.metrics import Metrics
from tests.control.builders import RUNNING, plays
from tests.control.controller.test_reaction import Server


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path, FakeBackend(plays(RUNNING)))
    yield server
    server.controller.close()
    server.database.close()


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(f"orchestrator_{name}", labels)


def test_who_leads_tells_so_with_its_cycles_and_what_it_decided(server: Server) -> None:
    metrics = Metrics()
    rows, means = server.rows, server.controller.means
    # The other one leads: this one stands by.
    metered = MeteredController(rows, means, "other", metrics=metrics)
    assert metered.turn() is False
    assert (value(metrics, "leader"), value(metrics, "cycle_seconds_count")) == (0.0, 0.0)

    server.controller.close()
    server.submit()
    for _ in range(8):
        metered.turn()
        server.clock.sleep(1.0)
    assert value(metrics, "leader") == 1.0
    assert value(metrics, "cycle_seconds_count") == 8.0
    for state, reason in (("STARTING", "Launched"), ("RUNNING", "Training")):
        assert value(metrics, "job_changes_total", state=state, reason=reason) == 1.0
    metered.close()
    assert value(metrics, "leader") == 0.0


def test_a_cycle_that_is_broken_off_is_counted_and_leads_nobody(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away() -> None:
        raise DatabaseUnavailable("the rows are away")

    server.controller.close()
    metrics = Metrics()
    metered = MeteredController(server.rows, server.controller.means, "other", metrics=metrics)
    metered.turn()
    monkeypatch.setattr(server.rows.jobs, "live", away)
    assert metered.turn() is False
    assert (value(metrics, "leader"), value(metrics, "failed_cycles_total")) == (0.0, 1.0)
    assert value(metrics, "cycle_seconds_count") == 1.0
