"""The plan of a script: what it asks for is taken as it is, and nothing is made up."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from orchestrator.control.admission.plan import Plan, PlanInputs, make_plan
from orchestrator.control.controller.creation import demand_of_plan
from orchestrator.inspect.data import DataFacts
from orchestrator.specs import FineTune, ModelSpec
from tests.control.admission.builders import gpu, machine
from tests.specs import builders

DATA = DataFacts({}, (), (), (), {("camera", "train"): "d" * 64})
CUSTOM = {
    "task": {"type": "custom", "entrypoint": "train.py"},
    "model": None,
    "data": {"domains": {"camera": {"train": [{"path": "rows"}]}}},
    "runtime": {"code": "pkg"},
}


def job(**sections: Any) -> FineTune:
    return builders.spec(**{**CUSTOM, **sections})


def plan(spec: FineTune, **changes: Any) -> Plan:
    values: dict[str, Any] = {
        "spec": spec,
        "data": DATA,
        "tokens": None,
        "model": None,
        "base": None,
        "hardware": machine(),
        "base_dir": Path("/home/me/job"),
        "default_store": "/home/me/models",
        "recipe": "7",
        "code_sha256": "c" * 64,
    }
    return make_plan(PlanInputs(**{**values, **changes}))


def test_a_script_gets_what_it_asks_for() -> None:
    found = plan(job(resources={"workers": 2, "memory_gb_per_worker": 3.0}))

    assert found.fits
    assert (found.memory, found.time, found.steps, found.estimates) == (None, None, None, None)
    assert found.identity.code == "c" * 64
    assert found.identity.data == {"camera/train": "d" * 64}
    body = found.spec.spec
    assert body.runtime.code == "/home/me/job/pkg"
    assert body.data.domains["camera"].train is not None
    assert body.data.domains["camera"].train[0].path == "/home/me/job/rows"
    assert (body.output.store, body.output.name) == ("/home/me/models", "job-one")
    demand = demand_of_plan(found)
    assert (demand.workers, demand.memory_bytes_per_worker) == (2, 3_000_000_000)


def test_what_is_not_known_is_said() -> None:
    warnings = " ".join(plan(job()).warnings)

    assert "not estimated" in warnings
    assert "memory_gb_per_worker is not given" in warnings
    assert demand_of_plan(plan(job())).memory_bytes_per_worker == 0


def test_a_gang_that_cannot_be_is_refused() -> None:
    found = plan(job(resources={"workers": 8, "cpus_per_worker": 2}))
    assert [reason.path for reason in found.reasons] == ["resources.workers"]
    found = plan(job(resources={"gpus_per_worker": 1}))
    assert [reason.path for reason in found.reasons] == ["resources.gpus_per_worker"]
    assert plan(job(resources={"gpus_per_worker": 1}), hardware=machine(gpus=(gpu(),))).fits


def test_code_variables_and_base_are_of_the_identity_and_secrets_are_not() -> None:
    run = plan(job()).identity.run

    assert plan(job(), code_sha256="e" * 64).identity.run != run
    assert plan(job(runtime={"code": "pkg", "env": {"MODE": "x"}})).identity.run != run
    based = plan(job(), base=ModelSpec(base="/models/tiny"), base_digest="b" * 64)
    assert based.identity.run != run
    assert based.identity.base == "b" * 64
    assert plan(job(runtime={"code": "elsewhere"})).identity.run == run
    assert plan(job(runtime={"code": "pkg", "secrets": ["hf-token"]})).identity.run == run
