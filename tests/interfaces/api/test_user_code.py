"""User code that comes with a submission: looked into, kept by its digest, and never run here."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestrator.errors import InvalidInput
from orchestrator.inspect.code import pack_folder
from orchestrator.interfaces.api.app import create_app
from orchestrator.interfaces.api.serving import ApiServer
from orchestrator.interfaces.client import Client
from orchestrator.storage.code import CodeStore
from orchestrator.storage.objectstore import open_store
from tests.interfaces.api.builders import API, Place, write_project

TRAP = "import pathlib\npathlib.Path('{}').write_text('run')\n"
METRIC = "def cost(labels, probabilities):\n    return 1.0\n"
CUSTOM = {"type": "custom", "entrypoint": "train.py"}


@pytest.fixture
def open_place(tmp_path: Path) -> Iterator[Place]:
    """A server whose operator allows user code, and gives team vision a secret."""
    (tmp_path / "secrets" / "vision").mkdir(parents=True)
    (tmp_path / "secrets" / "vision" / "hf-token").write_text("hunter22\n")
    place = Place(tmp_path, user_code="allowed", secrets_dir=tmp_path / "secrets")
    yield place
    place.close()


def packed(folder: Path, **files: str) -> bytes:
    for name, text in files.items():
        path = folder / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return pack_folder(folder).archive


def submit(
    place: Place, archive: bytes, team: str = "vision", sets: tuple[str, ...] = (), **sections: Any
) -> Any:
    client = place.client(team=team)
    url = place.upload(client, "code.tar", archive)
    runtime = {"code": url, **sections.pop("runtime", {})}
    spec = place.spec(client, runtime=runtime, **sections)
    return client.post(f"{API}/jobs", json={"spec": spec, "sets": sets})


def problems(answer: Any) -> dict[str, str]:
    return {problem["path"]: problem["message"] for problem in answer.json()["problems"]}


def test_code_is_kept_by_its_digest_and_never_run(open_place: Place) -> None:
    mark = open_place.folder / "mark"
    trap = TRAP.format(mark)
    archive = packed(open_place.folder / "pkg", mine=trap + METRIC, conftest=trap, ast=trap)

    answer = submit(
        open_place,
        archive,
        evaluation={"custom_metrics": {"cost": "mine:cost"}},
        runtime={"env": {"MODE": "fast"}, "secrets": ["hf-token"]},
    )

    assert answer.status_code == 201, answer.text
    job = open_place.service.jobs.get(answer.json()["job"]["id"])
    assert job is not None
    documents = open_place.service.jobs.documents(job.id)
    assert documents is not None
    sha256 = documents.identity.code
    assert sha256 is not None
    assert CodeStore(open_store(job.store)).get(sha256).archive == archive
    assert not mark.exists()
    assert "hunter22" not in documents.model_dump_json() + job.model_dump_json() + answer.text


def test_other_code_is_another_run(open_place: Place) -> None:
    metric = {"evaluation": {"custom_metrics": {"cost": "mine:cost"}}}
    first = submit(open_place, packed(open_place.folder / "a", mine=METRIC), **metric)
    same = submit(open_place, packed(open_place.folder / "b", mine=METRIC), **metric)
    other = submit(open_place, packed(open_place.folder / "c", mine=METRIC + "\n"), **metric)

    assert [answer.status_code for answer in (first, same, other)] == [201, 409, 201]


def test_a_script_needs_no_base(open_place: Place) -> None:
    archive = packed(open_place.folder / "pkg", train="")

    answer = submit(open_place, archive, sets=("model=null",), task=CUSTOM)

    assert answer.status_code == 201, answer.text
    assert answer.json()["job"]["estimated_seconds"] is None


def test_a_server_allows_none_unless_it_is_told(place: Place) -> None:
    archive = packed(place.folder / "pkg", train="not Python")

    answer = submit(place, archive, task=CUSTOM, runtime={"env": {"A": "b"}, "secrets": ["x"]})

    assert answer.status_code == 422
    refused = "the operator does not allow user code here"
    found = problems(answer)
    assert {path for path, message in found.items() if message == refused} == {
        *("runtime.code", "runtime.env", "runtime.secrets")
    }


def test_secrets_are_a_teams_own(open_place: Place) -> None:
    archive = packed(open_place.folder / "pkg", train="")
    asked = {"task": CUSTOM, "runtime": {"secrets": ["hf-token"]}}

    assert submit(open_place, archive, "vision", **asked).status_code == 201
    answer = submit(open_place, archive, "speech", **asked)

    assert answer.status_code == 422
    assert problems(answer) == {"runtime.secrets[0]": "the operator provides no secret 'hf-token'"}


def test_paths_of_the_server_are_no_code(open_place: Place) -> None:
    client = open_place.client()
    for path in (str(open_place.folder), "../secrets", "file:///etc"):
        spec = open_place.spec(client, runtime={"code": path}, task=CUSTOM)
        answer = client.post(f"{API}/jobs", json={"spec": spec})
        assert answer.status_code == 422
        assert problems(answer)["runtime.code"] == "a server reads no local path"


@pytest.mark.parametrize(
    ("name", "kind"), [("../train.py", tarfile.REGTYPE), ("train.py", tarfile.SYMTYPE)]
)
def test_archives_that_lead_out_are_refused(name: str, kind: bytes, open_place: Place) -> None:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        member = tarfile.TarInfo(name)
        member.type, member.linkname = kind, "/etc/passwd"
        archive.addfile(member)

    answer = submit(open_place, stream.getvalue(), task=CUSTOM)

    assert answer.status_code == 422
    assert set(problems(answer)) == {"runtime.code"}


def test_problems_come_back_with_the_users_own_files(open_place: Place, tmp_path: Path) -> None:
    spec = write_project(_folder(tmp_path / "project"))
    packed(spec.parent / "pkg", mine="\ndef cost(labels): pass\n")
    sets = ["runtime.code=pkg", "evaluation.custom_metrics.cost=mine:cost"]
    with (
        ApiServer(create_app(open_place.service), "127.0.0.1") as server,
        Client(server.url, open_place.token()) as client,
    ):
        with pytest.raises(InvalidInput) as caught:
            client.submit(spec, sets)
        (wrong,) = caught.value.problems
        assert (wrong.path, wrong.file, wrong.line) == (
            *("evaluation.custom_metrics.cost", "pkg/mine.py", 2),
        )
        (spec.parent / "pkg" / "mine.py").write_text(METRIC)
        assert client.submit(spec, sets).job.state == "QUEUED"


def _folder(path: Path) -> Path:
    path.mkdir()
    return path
