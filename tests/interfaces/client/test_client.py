"""The client against a real server on loopback."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from contextlib import ExitStack
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from orchestrator.errors import (
    Conflict,
    Forbidden,
    InvalidInput,
    NotFound,
    PlanRefused,
    ServerUnavailable,
    Unauthenticated,
)
from orchestrator.interfaces.api.serving import ApiServer
from orchestrator.interfaces.client import (
    Client,
    JobHandle,
    Listener,
    Progress,
    QueueRequest,
    Update,
    Waiting,
)
from orchestrator.records import Event, Job, JobState, Role, Wait, WaitReason
from orchestrator.storage.checkpoints import CheckpointStore
from orchestrator.storage.objectstore import open_store
from tests.control.builders import report
from tests.interfaces.api.builders import SECRET, Place, rows_of, write_project

S = JobState


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    return write_project(folder)


# Submitting


def test_local_files_are_handed_over_and_found_again(
    client: Client, place: Place, spec: Path
) -> None:
    sent: list[str] = []
    job = client.submit(
        spec, ["training.seed=5"], on_upload=lambda name, size: sent.append(Path(name).name)
    )
    assert (job.job.name, job.state) == ("cameras", S.QUEUED)
    assert sorted(sent) == [
        "config.json",
        "model.safetensors",
        "test.jsonl",
        "tokenizer.json",
        "train.jsonl",
    ]
    documents = job.spec()
    # What the user wrote stays as it was; where the data lie is said beside it.
    assert documents.written == spec.read_text()
    assert [text.partition("=")[0] for text in documents.sets] == [
        "training.seed",
        "model.base",
        "data.domains.camera.train[0].path",
        "data.domains.camera.test[0].path",
    ]
    assert all('="upload://' in text for text in documents.sets[1:])
    # The same files are not sent twice.
    sent.clear()
    client.submit(
        spec, ["training.seed=6"], on_upload=lambda name, size: sent.append(Path(name).name)
    )
    assert sent == []


def test_a_spec_may_be_text_or_a_mapping(client: Client, place: Place) -> None:
    with place.client() as http:
        text = place.spec(http)
    first = client.submit(text)
    second = client.submit(json.loads(text), new=True)
    assert first.id != second.id
    assert first.job.identity == second.job.identity


def test_the_same_data_are_the_same_run_however_they_came(
    client: Client, place: Place, spec: Path
) -> None:
    """A folder of parts, a pattern and one file of the same rows."""
    first = client.plan(spec)
    folder = spec.parent / "parts"
    folder.mkdir()
    (folder / "train.jsonl").write_text(rows_of("train"))
    for written in ("parts", "parts/*.jsonl", "./parts/../parts"):
        path = f'data.domains.camera.train[0].path="{written}"'
        assert client.plan(spec, [path]).identity == first.identity
    (folder / "zz more.json").write_text(rows_of("more"))
    path = "data.domains.camera.train[0]={path: parts, format: jsonl}"
    plan = client.plan(spec, [path])
    assert {(s.split, s.num_rows) for s in plan.splits} >= {("test", 60)}
    assert plan.identity != first.identity


def test_errors_name_the_users_own_files(client: Client, spec: Path) -> None:
    (spec.parent / "train.jsonl").write_text('{"text": "a"}\n')
    with pytest.raises(InvalidInput) as caught:
        client.submit(spec)
    (problem, *_) = caught.value.problems
    assert problem.path is not None
    assert problem.path.startswith("data.domains.camera.train[0]")
    assert ".uploads" not in str(caught.value)
    assert str(spec) in str(caught.value) or "train.jsonl" in str(caught.value)


def test_what_is_wrong_with_the_spec_is_told_here(client: Client, place: Place, spec: Path) -> None:
    spec.write_text(spec.read_text().replace("max_steps", "max_step"))
    with pytest.raises(InvalidInput) as caught:
        client.submit(spec)
    (problem,) = caught.value.problems
    assert (problem.path, problem.file, problem.line) == ("training.max_step", str(spec), 11)


def test_missing_files_are_told_before_anything_is_sent(client: Client, spec: Path) -> None:
    (spec.parent / "test.jsonl").unlink()
    sent: list[str] = []
    with pytest.raises(InvalidInput, match=r"test\.jsonl does not exist"):
        client.submit(spec, on_upload=lambda name, size: sent.append(Path(name).name))
    assert sent == []


def test_problems_that_only_the_server_knows_have_the_specs_line(
    client: Client, spec: Path
) -> None:
    text = spec.read_text() + "  scheduling: {queue: fast}\n"
    spec.write_text(text)
    with pytest.raises(InvalidInput) as caught:
        client.submit(spec)
    (problem,) = caught.value.problems
    assert (problem.path, problem.file, problem.line) == (
        "scheduling.queue",
        str(spec),
        len(text.splitlines()),
    )


def test_refusals_are_the_errors_they_were(client: Client, place: Place, spec: Path) -> None:
    job = client.submit(spec)
    with pytest.raises(Conflict, match=job.id):
        client.submit(spec)
    with pytest.raises(PlanRefused) as caught:
        client.submit(spec, ["resources.memory_gb_per_worker=0.001"])
    assert caught.value.problems[0].path == "resources.memory_gb_per_worker"
    with pytest.raises(NotFound):
        client.job("nothing")
    with pytest.raises(Forbidden):
        client.tokens()
    with Client(client.connection.url, "orc_wrong") as stranger, pytest.raises(Unauthenticated):
        stranger.jobs()


def test_a_finished_run_is_shown_with_what_the_server_says(
    client: Client, place: Place, spec: Path
) -> None:
    job = client.submit(spec)
    place.ended(job.id, model="cameras@1")
    again = client.submit(spec)
    assert again.id == job.id
    assert again.message.startswith("trained before as cameras@1")


def test_code_is_packed_and_sent(client: Client, spec: Path) -> None:
    """A server whose operator allows none refuses it: so it has arrived."""
    code = spec.parent / "pkg"
    code.mkdir()
    (code / "metrics.py").write_text("def cost(labels, probabilities):\n    return 1.0\n")
    sent: list[str] = []
    with pytest.raises(InvalidInput, match="does not allow user code"):
        client.submit(
            spec, ["runtime.code=pkg"], on_upload=lambda name, size: sent.append(Path(name).name)
        )
    assert "code.tar" in sent


# Jobs


def test_jobs_are_found_by_what_is_asked_for(client: Client, place: Place) -> None:
    for number in range(5):
        place.job(f"job-{number % 2}")
    assert [job.name for job in client.jobs(limit=3)] == ["job-0", "job-1", "job-0"]
    assert len(client.jobs(name="job-1")) == 2
    assert len(client.jobs(labels={"project": "reviews"}, states=[S.QUEUED])) == 5
    assert client.jobs(states=[S.FAILED]) == []
    newest = client.job("job-0")
    assert newest.id == client.jobs(limit=1)[0].id
    assert client.job(newest.id).job == newest.job


def test_the_verbs(client: Client, place: Place) -> None:
    job = client.job(place.job().id)
    assert job.suspend().state is S.SUSPENDED
    assert job.resume().state is S.QUEUED
    assert job.cancel().state is S.CANCELLED
    again = job.rerun()
    assert again.job.name == job.job.name
    again.cancel()
    assert job.retry().state is S.QUEUED
    place.started(job.id)
    assert job.refresh().state is S.RUNNING
    assert [attempt.number for attempt in job.attempts()] == [1]
    place.ended(job.id)
    assert again.delete() == ""
    with pytest.raises(NotFound):
        again.refresh()
    kinds = [event.kind for event in job.events()]
    assert kinds[0] == "Created"
    assert len(client.events()) == len(kinds)


def test_stacks_are_waited_for(client: Client, place: Place) -> None:
    job = client.job(place.job().id)
    place.started(job.id)
    checkpoints = CheckpointStore(open_store(job.job.store), job.id)

    def ranks_answer(_: float) -> None:
        for rank in range(2):
            checkpoints.put_stacks(1, rank, f"Thread of {rank}\n")

    client.connection.sleep = ranks_answer
    assert job.stacks(5.0).ranks == {0: "Thread of 0\n", 1: "Thread of 1\n"}
    assert job.stacks(0.0).ranks == {}


def test_queues_models_and_tokens(place: Place, server: ApiServer) -> None:
    with Client(server.url, place.token("ops", Role.ADMIN, "root")) as admin:
        assert admin.whoami().role is Role.ADMIN
        admin.put_queue("fast", QueueRequest(quota={"gpu": 2}, is_paused=True))
        assert [(q.name, q.is_paused) for q in admin.queues()] == [
            ("default", False),
            ("fast", True),
        ]
        admin.delete_queue("fast")
        made = admin.create_token("bob", "vision", Role.VIEWER, 60)
        assert [t.name for t in admin.tokens("vision")] == ["bob"]
        with Client(server.url, made.secret) as bob:
            assert bob.whoami().name == "bob"
            admin.revoke_token(made.token.id)
            with pytest.raises(Unauthenticated):
                bob.whoami()
        assert [node.name for node in admin.nodes()] == ["node-1"]
        assert admin.models() == []
        assert admin.audit(limit=2)[0].action.startswith("GET")


# Following


def says(place: Place, job: str, sequence: int, **said: Any) -> None:
    place.service.desk.receive(SECRET, report(sequence, **{**said, "job": job}))


def test_watching_tells_events_and_progress_to_the_end(client: Client, place: Place) -> None:
    job = client.job(place.job().id)
    watch = job.watch()
    told: list[Any] = [next(watch)]
    place.started(job.id)
    told += [next(watch) for _ in range(3)]
    says(place, job.id, 1, step=3, max_steps=9, metrics={"loss": 0.5})
    told.append(next(watch))
    assert (job.state, job.job.progress and job.job.progress.step) == (S.RUNNING, 3)
    assert "step 3 of 9, loss 0.5000" in job._repr_html_()
    place.ended(job.id, model="cameras@1")
    told += watch
    assert [type(update) for update in told] == [Event] * 3 + [Progress] * 2 + [Event, Job]
    assert (job.state, job.job.model) == (S.SUCCEEDED, "cameras@1")
    assert job.wait().state is S.SUCCEEDED


def test_watching_outlives_a_restart_of_the_server(place: Place) -> None:
    """Events while nobody listened are told afterwards, none twice."""
    job = place.job()
    first = ApiServer(place.app, "127.0.0.1")
    with first, Client(first.url, place.token()) as client:
        client.connection.sleep = lambda seconds: None
        watch = client.job(job.id).watch()
        told: list[Any] = [next(watch)]
        port = int(first.url.rpartition(":")[2])
        first.__exit__(None, None, None)
        place.started(job.id)
        with ApiServer(place.app, "127.0.0.1", port):
            told += [next(watch) for _ in range(3)]
            place.ended(job.id)
            told += watch
    states = [update.state for update in told if isinstance(update, Event)]
    assert states == [S.QUEUED, S.STARTING, S.RUNNING, S.SUCCEEDED]


def test_a_server_that_stays_away_is_an_error() -> None:
    slept: list[float] = []
    with (
        Client("http://127.0.0.1:9", sleep=slept.append) as client,
        pytest.raises(ServerUnavailable, match=r"127\.0\.0\.1:9 cannot be reached"),
    ):
        client.jobs()
    assert slept == [0.3, 1.0, 3.0]


def test_another_server_is_not_ours() -> None:
    import http.server

    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"<html>hello</html>")

        def log_message(self, *_: object) -> None:
            return

    with http.server.HTTPServer(("127.0.0.1", 0), Page) as other:
        threading.Thread(target=other.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{other.server_port}"
        with Client(url) as client, pytest.raises(ServerUnavailable, match="something else"):
            client.whoami()
        other.shutdown()


def test_logs_of_an_attempt_are_followed_to_its_end(client: Client, place: Place) -> None:
    job = client.job(place.job().id)
    place.started(job.id)
    place.logs.printed = {0: b"one\n"}
    pieces = job.logs(rank=0, follow=True, attempt=1)
    assert next(pieces) == b"one\n"
    place.logs.printed = {0: b"one\ntwo\n"}
    assert next(pieces) == b"two\n"
    place.end_attempt(job.id)
    assert list(pieces) == []
    assert b"".join(job.logs(rank=0)) == b"one\ntwo\n"
    assert b"".join(job.logs(rank=0, tail=1)) == b"two\n"
    assert b"".join(job.logs(rank=0, tail=0)) == b""
    assert b"".join(job.logs(rank=0, tail=9)) == b"one\ntwo\n"
    with pytest.raises(NotFound, match="has no rank 2"):
        list(job.logs(rank=2))


def test_logs_are_followed_from_attempt_to_attempt(client: Client, place: Place) -> None:
    """Also before the first has begun, and to the end of the job."""
    job = client.job(place.job().id)
    told: list[Any] = []

    class Told(Listener):
        def attempt(self, number: int) -> None:
            told.append(number)

        def update(self, update: Update) -> None:
            told.append(update.state if isinstance(update, Event) else type(update))

    place.logs.printed = {None: b"driver of 1\n"}
    with pytest.raises(NotFound, match="has not started yet"):
        list(job.logs())
    pieces = job.logs(follow=True, listener=Told())
    place.started(job.id)
    assert next(pieces) == b"driver of 1\n"
    place.end_attempt(job.id)
    place.move(job.id, S.QUEUED)
    place.started(job.id, secret="another one")
    assert next(pieces) == b"driver of 1\n"
    place.end_attempt(job.id)
    place.ended(job.id)
    assert list(pieces) == []
    assert [entry for entry in told if isinstance(entry, int)] == [1, 2]


def test_output_is_followed_across_a_restart_of_the_server(place: Place) -> None:
    job = place.job()
    place.started(job.id)
    told: list[str] = []

    class Told(Listener):
        def away(self, error: Exception) -> None:
            told.append("away")
            servers.enter_context(ApiServer(place.app, "127.0.0.1", port))

        def back(self) -> None:
            told.append("back")

    place.logs.printed = {0: b"earlier\nbefore\n"}
    first = ApiServer(place.app, "127.0.0.1")
    with ExitStack() as servers, first, Client(first.url, place.token()) as client:
        client.connection.sleep = lambda seconds: None
        pieces = client.job(job.id).logs(rank=0, follow=True, tail=1, listener=Told())
        assert next(pieces) == b"before\n"
        port = int(first.url.rpartition(":")[2])
        first.__exit__(None, None, None)
        place.logs.printed = {0: b"earlier\nbefore\nafter\n"}
        assert next(pieces) == b"after\n"
        place.end_attempt(job.id)
        place.ended(job.id)
        assert list(pieces) == []
    assert told == ["away", "back"]


def test_a_team_is_followed_from_where_it_was_cut_off(place: Place) -> None:
    """Even where it had heard of nothing yet: what happened meanwhile is told."""
    place.job("before")
    first = ApiServer(place.app, "127.0.0.1")
    with ExitStack() as servers, first, Client(first.url, place.token()) as client:
        client.connection.sleep = lambda seconds: None
        port = int(first.url.rpartition(":")[2])

        class Told(Listener):
            def away(self, error: Exception) -> None:
                place.job("meanwhile")
                servers.enter_context(ApiServer(place.app, "127.0.0.1", port))

        updates = client.follow(last=1, listener=Told())
        heard = [next(updates)]
        first.__exit__(None, None, None)
        heard.append(next(updates))
    names = [place.service.jobs.get(u.job).name for u in heard if isinstance(u, Event)]  # type: ignore[union-attr]
    assert names == ["before", "meanwhile"]


def test_the_overview_is_followed(client: Client, place: Place) -> None:
    updates = client.follow_overview(limit=1)
    assert next(updates).num_waiting == 0
    place.job()
    assert next(updates).waiting[0].position == 1
    assert client.overview().num_waiting == 1


def test_why_a_job_waits_is_told_to_whom_watches_it(client: Client, place: Place) -> None:
    job = client.job(place.job().id)
    watch = job.watch()
    next(watch)
    why = (Wait(reason=WaitReason.NO_ROOM, message="There is no room."),)
    place.move(job.id, S.SUSPENDED)
    place.move(job.id, S.QUEUED, waits=why)
    told = next(update for update in watch if isinstance(update, Waiting))
    assert told.waits == why
    assert "There is no room." in job._repr_html_()
    assert [event.state for event in job.events(last=2)] == [S.SUSPENDED, S.QUEUED]
    assert len(client.events(last=1)) == 1


# In a notebook


@pytest.fixture
def cell(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What a cell of a notebook has shown."""
    shown: list[str] = []

    class Display:
        def update(self, document: str) -> None:
            shown.append(document)

    class Shell:
        kernel = "there is one"

    def display(document: str, *, display_id: bool) -> Display:
        shown.append(document)
        return Display()

    python, displays = ModuleType("IPython"), ModuleType("IPython.display")
    python.get_ipython = Shell  # type: ignore[attr-defined]
    displays.HTML, displays.display = str, display  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython", python)
    monkeypatch.setitem(sys.modules, "IPython.display", displays)
    return shown


def test_a_notebook_shows_a_job_and_follows_a_watch(
    client: Client, place: Place, cell: list[str]
) -> None:
    job = client.job(place.job("a<b>").id)
    assert "a&lt;b&gt;" in job._repr_html_()
    place.started(job.id)
    says(place, job.id, 1, step=3, max_steps=9)
    job.refresh()
    assert "<progress value='3' max='9'>" in job._repr_html_()
    place.end_attempt(job.id, metrics={"d<v>": {"accuracy": 0.8125, "num_rows": 60}})
    place.ended(job.id)
    job.watch()._ipython_display_()
    assert "RUNNING" in cell[0]
    assert "SUCCEEDED" in cell[-1]
    assert "<td style='text-align:left'>d&lt;v&gt;</td><td>0.812</td></tr>" in cell[-1]
    assert "num_rows" not in cell[-1]


def test_interrupting_a_cell_ends_the_looking(
    client: Client,
    place: Place,
    cell: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    watch = client.job(place.job().id).watch()

    def interrupted(self: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(type(watch), "__next__", interrupted)
    watch._ipython_display_()
    assert "goes on; watch() follows it again" in capsys.readouterr().out


def test_ipython_in_a_terminal_follows_too(
    client: Client,
    place: Place,
    cell: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys.modules["IPython"], "get_ipython", lambda: None, raising=False)
    job = client.job(place.job().id)
    place.ended(job.id)
    job.watch()._ipython_display_()
    assert cell == []
    assert "SUCCEEDED (Completed)" in capsys.readouterr().out


def test_a_terminal_shows_a_job(client: Client, place: Place) -> None:
    from rich.console import Console

    job = client.job(place.job().id)
    console = Console(width=100, record=True)
    console.print(job)
    assert "QUEUED (Submitted)" in console.export_text()
    assert repr(job) == f"<{job.id} cameras QUEUED>"


def test_the_client_is_light() -> None:
    code = "import orchestrator.interfaces.client, sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    heavy = {"torch", "fastapi", "starlette", "uvicorn", "sqlalchemy", "alembic", "ray"}
    assert loaded & (heavy | {"pyarrow", "obstore", "numpy", "transformers", "jwt"}) == set()


def test_specs_of_the_examples_can_be_sent(client: Client) -> None:
    """The quickstart's data are a few files beside it."""
    root = Path(__file__).resolve().parents[3]
    spec = root / "jobs" / "quickstart.yaml"
    sent: list[str] = []
    job: JobHandle = client.submit(spec, on_upload=lambda name, size: sent.append(Path(name).name))
    assert len(sent) == 9
    domains = yaml.safe_load(spec.read_text())["spec"]["data"]["domains"]
    assert set(job.spec().spec.spec.data.domains) == set(domains)
