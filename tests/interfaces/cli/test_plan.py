import json

import pytest

from orchestrator import server
from orchestrator.control.admission.records import PlanReason
from tests.control.admission.builders import tiny_model
from tests.control.admission.test_options import planned
from tests.interfaces.cli.scripted import plan

REASON = PlanReason(path="resources.workers", message="9 workers need 13 GB", change="write 2")


@pytest.fixture
def answer(monkeypatch):
    """Lets the server answer with a plan; returns what it was asked."""
    asked = []

    def answer(found):
        def make(source, sets=(), *, settings):
            asked.append((source.name, sets))
            return found

        monkeypatch.setattr(server, "plan", make)
        return asked

    return answer


def test_a_plan_that_fits(orchestrator, answer):
    asked = answer(plan())
    done = orchestrator("plan", "job.yaml", "--set", "training.epochs=3")
    assert done.exit_code == 0
    assert asked == [("job.yaml", ("training.epochs=3",))]
    assert done.stdout.splitlines()[-1] == "fits: about 2:55"


def test_a_refused_plan_exits_with_2(orchestrator, answer):
    answer(plan(verdict="refused", reasons=(REASON,)))
    done = orchestrator("plan", "job.yaml")
    assert done.exit_code == 2
    assert "resources.workers: 9 workers need 13 GB" in done.stdout


def test_a_refused_plan_as_json_is_still_the_plan(orchestrator, answer):
    answer(plan(verdict="refused", reasons=(REASON,)))
    done = orchestrator("plan", "job.yaml", "--json")
    assert done.exit_code == 2
    document = json.loads(done.stdout)
    assert document["verdict"] == "refused"
    assert document["reasons"][0]["change"] == "write 2"
    assert document["steps"]["total"] == 120


@pytest.fixture
def elsewhere(monkeypatch):
    """Lets the server plan for hardware that is not here; returns what it was asked."""
    asked = []

    def make(source, sets=(), *, hardware, settings):
        asked.append((source.name, sets, hardware))
        return planned(tiny_model(), *hardware)

    monkeypatch.setattr(server, "plan_elsewhere", make)
    return asked


def test_hardware_that_is_not_here(orchestrator, elsewhere):
    done = orchestrator(
        "plan", "job.yaml", "--hardware", "8xH100", "--hardware", "4xL4", "--set", "a=1"
    )
    assert done.exit_code == 0
    assert elsewhere == [("job.yaml", ("a=1",), ("8xH100", "4xL4"))]
    assert "take ZeRO-" in done.stdout


def test_hardware_on_which_nothing_fits_exits_with_2(orchestrator, elsewhere):
    assert orchestrator("plan", "job.yaml", "--hardware", "8xT4").exit_code == 2
    assert orchestrator("plan", "job.yaml", "--hardware", "8xT4,8xL4").exit_code == 0


def test_hardware_as_json(orchestrator, elsewhere):
    done = orchestrator("plan", "job.yaml", "--hardware", "8xH100", "--json")
    (fleet,) = json.loads(done.stdout)["fleets"]
    option = fleet["options"][fleet["recommended"]]
    assert (fleet["hardware"], fleet["workers"]) == ("8xH100", 8)
    assert sum(option["memory"].values()) == option["gpu_bytes"]
