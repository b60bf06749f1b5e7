"""Commands look into user code and run nothing of it; who may not bring any is told which field."""

import json

import pytest

from tests.interfaces.api.builders import write_project

TRAP = "import pathlib\npathlib.Path('{}').write_text('run')\n"
FUNCTIONS = "def tidy(row): return row\ndef cost(labels, probabilities): return 1.0\n"
NAMED = (
    *("--set", "runtime.code=pkg", "--set", "data.transform=mine:tidy"),
    *("--set", "evaluation.custom_metrics.cost=mine:cost"),
)
SCRIPT = (
    *("--set", "task={type: custom, entrypoint: train.py}", "--set", "runtime.code=pkg"),
    *("--set", "model=null"),
)


@pytest.fixture
def mark(work):
    """Written by code that runs, at its import or later."""
    return work / "mark"


@pytest.fixture(autouse=True)
def spec(work, mark):
    write_project(work)
    (work / "pkg").mkdir()
    for name in ("mine", "train", "conftest", "sitecustomize", "torch", "json"):
        (work / "pkg" / f"{name}.py").write_text(TRAP.format(mark) + FUNCTIONS)


def test_a_preview_shows_rows_as_the_files_have_them(orchestrator, mark):
    done = orchestrator("data", "preview", "spec.yaml", *NAMED)

    assert done.exit_code == 0
    assert "the camera is good" in done.stdout
    assert "mine:tidy changes them later" in done.stderr
    assert not mark.exists()


def test_validate_and_plan_run_nothing(orchestrator, mark):
    assert orchestrator("validate", "spec.yaml", *NAMED).exit_code == 0
    done = orchestrator("plan", "spec.yaml", "--json", *NAMED)

    plan = json.loads(done.stdout)
    assert len(plan["identity"]["code"]) == 64
    assert any("mine:tidy changes them in the workers" in warning for warning in plan["warnings"])
    assert orchestrator("validate", "spec.yaml", *SCRIPT).exit_code == 0
    assert "train.py" in orchestrator("plan", "spec.yaml", *SCRIPT).stdout
    assert not mark.exists()


def test_the_rows_of_a_script_are_its_own(orchestrator):
    done = orchestrator("data", "preview", "spec.yaml", *SCRIPT)

    assert done.exit_code == 2
    assert "a custom task's script reads the files itself" in done.stderr


@pytest.mark.parametrize("command", ["validate", "plan", "run"])
def test_an_operator_may_refuse_it(command, orchestrator, monkeypatch, mark):
    monkeypatch.setenv("ORCHESTRATOR_USER_CODE", "refused")

    done = orchestrator(command, "spec.yaml", *NAMED, "--json")

    assert done.exit_code == 2
    (problem,) = json.loads(done.stdout)["error"]["problems"]
    assert problem["path"] == "runtime.code"
    assert problem["message"] == "the operator does not allow user code here"
    assert "user_code" in problem["hint"]
    assert not mark.exists()


def test_a_secret_that_nobody_holds_is_told_before_the_start(orchestrator):
    done = orchestrator("run", "spec.yaml", *NAMED, "--set", "runtime.secrets=[hf-token]", "--json")

    assert done.exit_code == 2
    (problem,) = json.loads(done.stdout)["error"]["problems"]
    assert problem["path"] == "runtime.secrets[0]"
    assert "ORCHESTRATOR_SECRET_HF_TOKEN" in problem["hint"]
