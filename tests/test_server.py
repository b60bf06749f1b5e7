"""`plan` and `run` over a real store, real data and a base without weights worth training.

Ray is played by the fake backend, whose scripts do in the store what a worker would.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import httpx
import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordLevel

from orchestrator import server
from orchestrator.control.backends.base import LaunchRequest, Observation
from orchestrator.control.backends.fake import FakeBackend, Script
from orchestrator.control.controller import look, oneshot
from orchestrator.control.controller.locks import hold, lock_key
from orchestrator.control.controller.policy import Policy, Rule
from orchestrator.errors import (
    AlreadyRunning,
    InvalidInput,
    PlanRefused,
    StoreError,
    StoreUnavailable,
)
from orchestrator.records import JobState, Launch, Outcome, Phase, Reason, Report
from orchestrator.server import Plan, StopSignal, one_shot
from orchestrator.settings import Settings, load_settings
from orchestrator.storage.checkpoints import CheckpointStore
from orchestrator.storage.objectstore import open_store
from orchestrator.storage.registry import ModelRegistry
from tests.control.builders import KILLED, RUNNING, SUCCEEDED, Heard
from tests.inspect.model_folders import write_model

SPEC = """\
apiVersion: finetune.orchestrator/v1alpha1
kind: FineTune
metadata: {name: cameras}
spec:
  model: {base: base}
  task: {type: text-classification}
  data:
    domains:
      camera: {train: [{path: train.jsonl}], test: [{path: test.jsonl}]}
  training: {max_steps: 4, global_batch_size: 4, max_length: 8}
  resources: {workers: 2}
  output: {store: models}
"""


class Told(Heard):
    """A listener that keeps the plan too."""

    plan: Plan | None = None

    def planned(self, plan: Plan) -> None:
        self.plan = plan


class PlayedBackend(FakeBackend):
    """The fake in the local backend's place: it has nothing to prepare."""

    def prepare(self, **size: int) -> None:
        self.prepared = size


class Place:
    """A folder with a spec, and what happened to it."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.spec = folder / "spec.yaml"
        self.spec.write_text(SPEC)
        write_model(folder / "base")
        words = {"[UNK]": 0, "the": 1, "camera": 2, "is": 3, "good": 4, "bad": 5}
        Tokenizer(WordLevel(words, "[UNK]")).save(str(folder / "base/tokenizer.json"))
        for split in ("train", "test"):
            rows = [
                {"text": f"{split} {n} the camera is {word}", "label": label}
                for n in range(30)
                for word, label in (("good", "pos"), ("bad", "neg"))
            ]
            text = "".join(json.dumps(row) + "\n" for row in rows)
            (folder / f"{split}.jsonl").write_text(text)
        environ = {"HOME": str(folder), "PATH": os.environ["PATH"]}
        self.settings: Settings = load_settings(environ=environ, directory=folder)
        self.backends: list[PlayedBackend] = []
        self.told = Told()
        self.stop = StopSignal()
        self.script: Script = self.trains
        monkeypatch.setattr(one_shot, "LocalBackend", self._backend)
        monkeypatch.setattr(oneshot, "PAUSE_SECONDS", 0.001)
        self.patch = monkeypatch
        self.retries(0)

    def retries(self, number: int) -> None:
        """How often a killed Attempt is followed by another one; the fake needs no rest."""
        rules = {**one_shot.POLICY.rules, Reason.WORKER_LOST: Rule(number, "goes on")}
        policy = Policy(rules=rules, first_backoff_seconds=0.0, look_seconds=0.0)
        self.patch.setattr(one_shot, "POLICY", policy)

    def _backend(self, *_: object, **__: object) -> PlayedBackend:
        self.backends.append(PlayedBackend(lambda request: self.script(request)))
        return self.backends[-1]

    @property
    def store(self) -> Any:
        return open_store(str(self.folder / "models"))

    def run(self, *sets: str, new: bool = False) -> Outcome:
        self.told = Told()
        return server.run(
            self.spec,
            sets,
            settings=self.settings,
            listener=self.told,
            stop=self.stop,
            new=new,
        )

    def launches(self) -> list[Launch]:
        return [self.launch_of(request) for b in self.backends for request in b.launched]

    def launch_of(self, request: LaunchRequest) -> Launch:
        return Launch.model_validate_json(Path(request.launch_path).read_text())

    # What an Attempt may do.

    def trains(self, request: LaunchRequest) -> Iterator[Observation]:
        launch = self.launch_of(request)
        reports(launch, request, Phase.TRAIN, step=1)
        yield RUNNING
        export = self.folder / "export"
        export.mkdir(exist_ok=True)
        for name in ("config.json", "model.safetensors", "tokenizer.json", "metrics.json"):
            (export / name).write_text("{}")
        version = ModelRegistry(self.store).publish("cameras", export, run=launch.job)
        leaves(self.store, launch, JobState.SUCCEEDED, Reason.COMPLETED, model=version.ref)
        yield SUCCEEDED

    def is_killed(self, request: LaunchRequest) -> Iterator[Observation]:
        launch = self.launch_of(request)
        yield RUNNING
        checkpoints = CheckpointStore(self.store, launch.job)
        shards = self.folder / "shards"
        shards.mkdir(exist_ok=True)
        (shards / "shard").write_text("x")
        for rank in range(2):
            checkpoints.upload_rank(launch.attempt, 2, rank, shards)
        engine = launch.spec.spec.engine
        metadata = {"strategy": engine.strategy, "zero_stage": engine.zero_stage}
        checkpoints.commit(launch.attempt, 2, 2, metadata, timeout_seconds=1)
        yield KILLED


def reports(launch: Launch, request: LaunchRequest, phase: Phase, **said: Any) -> str:
    """Sends a Report as a worker does; the answer's action."""
    assert launch.report_url is not None
    report = Report(
        job=launch.job, attempt=launch.attempt, rank=0, sequence=1, time=0.0, phase=phase, **said
    )
    token = request.environment["ORCHESTRATOR_REPORT_TOKEN"]
    answer = httpx.post(
        launch.report_url,
        content=report.model_dump_json(),
        headers={"Authorization": f"Bearer {token}"},
        trust_env=False,
    )
    answer.raise_for_status()
    return str(answer.json()["action"])


def leaves(store: Any, launch: Launch, state: JobState, reason: Reason, **said: Any) -> None:
    outcome = Outcome(job=launch.job, attempt=launch.attempt, state=state, reason=reason, **said)
    CheckpointStore(store, launch.job).put_outcome(
        launch.attempt, outcome.model_dump(mode="json"), create_only=True
    )


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    return Place(tmp_path, monkeypatch)


def files_of(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_a_plan_starts_and_writes_nothing(place: Place) -> None:
    before = files_of(place.folder)
    found = server.plan(place.spec, settings=place.settings)
    assert found.fits
    assert found.spec.spec.output.store == str(place.folder / "models")
    assert files_of(place.folder) == before
    assert place.backends == []


def test_everything_wrong_is_told_at_once(place: Place) -> None:
    place.spec.write_text(
        SPEC.replace("max_steps: 4", "max_step: 4").replace("base: base", "base: x")
    )
    (place.folder / "test.jsonl").unlink()
    with pytest.raises(InvalidInput) as caught:
        server.plan(place.spec, settings=place.settings)
    told = {(problem.path, problem.line) for problem in caught.value.problems}
    assert told == {
        ("training.max_step", 10),
        ("data.domains.camera.test[0].path", 9),
        ("model.base", 5),
    }


def test_a_run_from_spec_to_model(place: Place) -> None:
    outcome = place.run()
    assert (outcome.state, outcome.model, outcome.attempt) == (JobState.SUCCEEDED, "cameras@1", 1)
    assert place.told.plan is not None
    assert [phase for phase, _ in place.told.phases] == ["plan", "launch", "launch"]
    assert [report.step for report in place.told.reports] == [1]
    (launch,) = place.launches()
    assert launch.store == str(place.folder / "models")
    assert launch.base_path == str(place.folder / "base")
    assert launch.spec.spec.engine.micro_batch_size == 2
    assert launch.written == SPEC
    assert launch.identity == place.told.plan.identity
    (backend,) = place.backends
    assert backend.prepared == {"num_cpus": 2, "num_gpus": 0}
    assert backend.is_closed
    # Nothing stays on this host: no lock, no scratch.
    state = place.settings.state_dir
    assert list((state / "locks").iterdir()) == list((state / "scratch").iterdir()) == []


def test_a_finished_run_is_shown_and_trained_again_only_when_asked(place: Place) -> None:
    first = place.run()
    again = place.run()
    assert again.message == "already trained: cameras@1; --new trains again"
    assert again.model_copy(update={"message": None}) == first
    assert len(place.backends) == 1
    anew = place.run(new=True)
    assert anew.model == "cameras@2"
    assert anew.job != first.job
    assert place.run().job == anew.job


def test_how_it_fits_is_no_other_run_and_what_is_learned_is(place: Place) -> None:
    first = place.run()
    assert place.run("engine.micro_batch_size=1").job == first.job
    assert place.run("training.seed=5").job != first.job


def test_an_unfinished_run_goes_on_as_it_began(place: Place) -> None:
    place.script = place.is_killed
    # Begun with smaller micro batches than the plan would choose today.
    killed = place.run("engine.micro_batch_size=1")
    assert killed.hint == "run the same command again: it resumes from step 2"
    place.script = place.trains
    outcome = place.run()
    assert (outcome.job, outcome.attempt) == (killed.job, 2)
    launch = place.launches()[-1]
    assert [(ref.attempt, ref.step) for ref in launch.resume] == [(1, 2)]
    assert launch.spec.spec.engine.micro_batch_size == 1


def test_a_gang_that_was_killed_is_followed_by_another_one(place: Place) -> None:
    place.retries(1)
    place.script = lambda request: (
        place.is_killed(request) if request.attempt == 1 else place.trains(request)
    )
    outcome = place.run()
    assert (outcome.state, outcome.attempt) == (JobState.SUCCEEDED, 2)
    first, second = place.launches()
    assert (first.resume, [(r.attempt, r.step) for r in second.resume]) == ((), [(1, 2)])
    events = (place.folder / f"models/.checkpoints/{outcome.job}/a2/events.jsonl").read_text()
    states = [json.loads(line)["state"] for line in events.splitlines()]
    assert [state for state, _ in groupby(states)] == [
        "QUEUED", "STARTING", "RUNNING", "QUEUED", "STARTING", "RUNNING", "SUCCEEDED",
    ]  # fmt: skip


def test_an_unfinished_run_goes_on_with_other_workers_and_not_with_another_strategy(
    place: Place,
) -> None:
    place.script = place.is_killed
    place.run()
    with pytest.raises(InvalidInput) as caught:
        place.run("engine.strategy=ddp")
    (problem,) = caught.value.problems
    assert (problem.path, problem.hint) == (
        "engine.strategy",
        "write deepspeed, or begin anew with --new",
    )
    assert len(place.backends) == 1  # nothing was started
    place.script = place.trains
    assert place.run("resources.workers=1").attempt == 2
    resumed = place.launches()[-1]
    assert [(r.step, r.world_size) for r in resumed.resume] == [(2, 2)]
    assert resumed.spec.spec.engine.zero_stage == 2


def test_what_cannot_fit_is_refused_before_anything_starts(place: Place) -> None:
    before = files_of(place.folder)
    with pytest.raises(PlanRefused) as caught:
        place.run("resources.gpus_per_worker=1")
    assert caught.value.message.startswith("resources.gpus_per_worker: 2 GPUs asked for")
    assert caught.value.hint == "write resources.gpus_per_worker: 0"
    assert place.told.plan is not None
    assert place.told.plan.verdict == "refused"
    assert (place.backends, files_of(place.folder)) == ([], before)


def test_a_live_run_is_refused(place: Place) -> None:
    found = server.plan(place.spec, settings=place.settings)
    locks = place.settings.state_dir / "locks"
    with hold(locks, lock_key(str(place.folder / "models"), found.identity.run)) as lock:
        lock.tell("job-x")
        with pytest.raises(AlreadyRunning, match=r"job-x, process \d+"):
            place.run()
    assert place.backends == []


def test_a_store_that_cannot_be_used_is_told_before_the_start(place: Place) -> None:
    (place.folder / "models").write_text("a file")
    with pytest.raises(StoreError) as caught:
        place.run()
    assert caught.value.exit_code == 2
    assert place.backends == []


def test_a_store_that_is_away_is_bad_input_before_the_start(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(look, "PATIENCE_SECONDS", 0.1)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "")  # so that what `run` sets is taken back
    place.settings = place.settings.model_copy(update={"store_endpoint": "http://127.0.0.1:9"})
    with pytest.raises(StoreUnavailable) as caught:
        place.run("output.store=s3://bucket/models")
    assert caught.value.exit_code == 2
    assert caught.value.message.startswith("s3://bucket/models: the store cannot be reached")


def test_the_setting_names_the_store_of_specs_that_name_none(place: Place) -> None:
    place.spec.write_text(SPEC.replace("  output: {store: models}\n", ""))
    place.settings = place.settings.model_copy(update={"store": str(place.folder / "models")})
    place.run()
    assert place.launches()[0].store == str(place.folder / "models")


def test_ctrl_c_while_it_is_planned_starts_nothing(place: Place) -> None:
    place.stop.request()
    outcome = place.run()
    assert (outcome.state, outcome.reason) == (JobState.SUSPENDED, Reason.INTERRUPTED)
    assert place.backends == []


def test_ctrl_c_in_training_asks_the_workers_to_save(place: Place) -> None:
    def saves(request: LaunchRequest) -> Iterator[Observation]:
        launch = place.launch_of(request)
        answers.append(reports(launch, request, Phase.TRAIN, step=1))
        yield RUNNING
        place.stop.request()
        yield RUNNING
        report = {"step": 2}
        answers.append(reports(launch, request, Phase.TRAIN, **report))
        leaves(place.store, launch, JobState.SUSPENDED, Reason.INTERRUPTED, step=2)
        yield SUCCEEDED

    answers: list[str] = []
    place.script = saves
    outcome = place.run()
    assert answers == ["continue", "save_and_stop"]
    assert (outcome.state, outcome.step) == (JobState.SUSPENDED, 2)


def test_planning_imports_no_engine(place: Place) -> None:
    code = (
        "import sys; from pathlib import Path; from orchestrator import server; "
        "from orchestrator.settings import load_settings; "
        f"server.plan(Path({str(place.spec)!r}), settings=load_settings()); "
        "print(sorted({'torch', 'transformers', 'deepspeed', 'ray', 'fastapi', 'sqlalchemy'} "
        "& set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
