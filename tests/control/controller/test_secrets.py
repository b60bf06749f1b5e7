"""Secrets: by name, for the teams that may use them, and read when a job is launched."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.control.controller.launching import launch_request
from orchestrator.control.controller.secrets import Secrets
from orchestrator.errors import InvalidInput
from orchestrator.records import Identity, Launch
from orchestrator.settings import load_settings
from tests.control.builders import JOB, RUN, resolved_spec


@pytest.fixture
def secrets(tmp_path: Path) -> Secrets:
    for name, value in {
        "hf-token": "for everybody\n",
        "vision/hf-token": "for vision\r\n",
        "speech/wandb": "for speech",
        "key": "line one\nline two\n",
        "empty": "\n",
        "odd": "a\0b",
    }.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(value.encode())
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    return Secrets(tmp_path, {"ORCHESTRATOR_SECRET_API_KEY": "of the server", "OTHER": "hidden"})


@pytest.mark.parametrize(
    ("team", "name", "found"),
    [
        ("vision", "hf-token", {"HF_TOKEN": "for vision"}),
        ("speech", "hf-token", {"HF_TOKEN": "for everybody"}),
        ("speech", "wandb", {"WANDB": "for speech"}),
        ("speech", "key", {"KEY": "line one\nline two"}),
        ("speech", "api-key", {"API_KEY": "of the server"}),
    ],
)
def test_a_teams_own_come_first(
    team: str, name: str, found: dict[str, str], secrets: Secrets
) -> None:
    assert secrets.resolve([name], team) == found
    assert list(secrets.problems([name], team)) == []


@pytest.mark.parametrize("name", ["wandb", "other", "empty", "odd", "binary", "speech"])
def test_what_a_team_may_not_use_is_not_there(name: str, secrets: Secrets) -> None:
    """Nor is it told whether another team has it."""
    (problem,) = secrets.problems(["hf-token", name], "vision")

    assert problem.path == "runtime.secrets[1]"
    assert problem.message == f"the operator provides no secret '{name}'"
    with pytest.raises(InvalidInput, match=f"no secret '{name}'"):
        secrets.resolve([name], "vision")


def test_values_are_shown_by_nothing(secrets: Secrets, tmp_path: Path) -> None:
    assert "of the server" not in repr(secrets)
    environ = {"HOME": str(tmp_path), "ORCHESTRATOR_SECRET_API_KEY": "of the server"}
    settings = load_settings(environ=environ, directory=tmp_path)
    assert settings.warnings == ()
    assert "of the server" not in repr([*settings.described(), settings])


def test_they_reach_the_environment_of_an_attempt_and_change_nothing_of_ours() -> None:
    runtime = {"code": "/pkg", "env": {"MODE": "fast", "TOKENIZERS_PARALLELISM": "true"}}
    launch = Launch(
        job=JOB,
        attempt=1,
        spec=resolved_spec(runtime={**runtime, "secrets": ["hf-token"]}),
        written="",
        identity=Identity(run=RUN, data={}, base="0" * 64, recipe="1"),
        store="memory://x",
        base_path="/base",
        submitted_at=0.0,
    )
    both = {"HF_TOKEN": "hunter22", "ORCHESTRATOR_REPORT_TOKEN": "stolen", "DS_ACCELERATOR": "x"}

    request = launch_request(launch, "s3://b/launch.json", "token", (), both)

    assert dict(request.environment) == {
        "MODE": "fast",
        "HF_TOKEN": "hunter22",
        "TOKENIZERS_PARALLELISM": "true",
        "ORCHESTRATOR_REPORT_TOKEN": "token",
        "HF_HUB_OFFLINE": "1",
        "DS_ACCELERATOR": "cpu",
    }
    assert "hunter22" not in launch.model_dump_json()
