from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.control.controller.runs import RunIndex
from orchestrator.errors import IntegrityError
from orchestrator.storage.objectstore import open_store
from tests.control.builders import RUN


@pytest.fixture
def index(tmp_path: Path) -> RunIndex:
    return RunIndex(open_store(str(tmp_path)))


def test_the_first_job_stays_the_runs_job(index: RunIndex) -> None:
    assert index.find(RUN) is None
    assert index.adopt(RUN, new_job="job-a", name="camera").job == "job-a"
    assert index.adopt(RUN, new_job="job-b", name="renamed").job == "job-a"
    found = index.find(RUN)
    assert found is not None
    assert (found.job, found.name, found.run) == ("job-a", "camera", RUN)


def test_new_replaces_the_job(index: RunIndex) -> None:
    index.adopt(RUN, new_job="job-a", name="camera")
    index.replace(RUN, new_job="job-b", name="camera")
    assert index.adopt(RUN, new_job="job-c", name="camera").job == "job-b"


def test_a_torn_record_says_what_to_do(index: RunIndex, tmp_path: Path) -> None:
    index.adopt(RUN, new_job="job-a", name="camera")
    (tmp_path / f".runs/{RUN}.json").write_text('{"job":')
    with pytest.raises(IntegrityError, match="delete it"):
        index.find(RUN)
