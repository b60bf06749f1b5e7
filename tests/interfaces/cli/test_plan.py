import json

import pytest

from orchestrator import server
from orchestrator.control.admission.records import PlanReason
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
