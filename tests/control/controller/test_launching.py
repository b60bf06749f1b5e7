from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.control.controller.launching import launch_request, write_launch
from orchestrator.errors import LaunchFailed
from orchestrator.records import Identity, Launch
from tests.control.builders import JOB, RUN, resolved_spec


def launch(scratch: Path) -> Launch:
    return Launch(
        job=JOB,
        attempt=3,
        spec=resolved_spec(),
        written="kind: FineTune\n",
        identity=Identity(run=RUN, data={}, base="cd", recipe="1"),
        store="/models",
        base_path="/base",
        cache="/cache",
        scratch=str(scratch),
        submitted_at=0.0,
    )


def test_a_launch_is_read_as_it_was_written(tmp_path: Path) -> None:
    written = launch(tmp_path / "scratch")
    file = write_launch(written)
    assert Launch.model_validate_json(file.read_text()) == written


def test_a_scratch_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "scratch").write_text("a file")
    with pytest.raises(LaunchFailed, match="cannot be written: File exists") as caught:
        write_launch(launch(tmp_path / "scratch"))
    assert "ORCHESTRATOR_STATE_DIR" in (caught.value.hint or "")


def test_the_token_is_an_attempts_own_and_in_its_environment_only(tmp_path: Path) -> None:
    request = launch_request(launch(tmp_path), tmp_path / "launch.json", "secret")
    assert request.environment["ORCHESTRATOR_REPORT_TOKEN"] == "secret"
    assert "secret" not in request.launch_path
    assert request.environment["TOKENIZERS_PARALLELISM"] == "false"
