from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestrator.control.backends.base import LaunchRequest, Observation
from orchestrator.control.backends.fake import FakeBackend, Script
from orchestrator.control.controller.attempt import AttemptRun, Desk, Work
from orchestrator.control.controller.inbox import Inboxes
from orchestrator.control.controller.stopping import StopSignal
from orchestrator.errors import InvalidInput, StoreUnavailable
from orchestrator.records import Identity, JobState, Launch, Outcome, Phase, Reason
from orchestrator.storage.checkpoints import CheckpointStore
from orchestrator.storage.objectstore import ObjectStore, open_store
from orchestrator.storage.registry import ModelRegistry
from tests.control.builders import JOB, KILLED, RUN, RUNNING, SUCCEEDED, Clock, Heard, resolved_spec


class Bench:
    """One host with a folder as its store; `worker` stands for what the Attempt does."""

    def __init__(self, folder: Path, script: Script, *, refuses: str | None = None) -> None:
        self.folder = folder
        self.clock = Clock()
        self.store = open_store(str(folder / "models"))
        self.backend = FakeBackend(script, refuses=refuses)
        self.heard = Heard()
        self.stop = StopSignal()
        self.checkpoints = CheckpointStore(self.store, JOB)

    def run(self, **sections: dict[str, Any]) -> Outcome:
        work = Work(
            spec=resolved_spec(**sections),
            written="kind: FineTune\n",
            identity=Identity(run=RUN, data={"camera/train": "ab"}, base="cd", recipe="1"),
            base_path=Path("/models/base"),
            submitted_at=self.clock(),
            seconds={Phase.PLAN: 1.5},
            git_commit="abc",
        )
        desk = Desk(
            store=self.store,
            backend=self.backend,
            inboxes=Inboxes(),
            report_url="http://127.0.0.1:1/api/v1/reports",
            scratch=self.folder / "scratch",
            cache=self.folder / "cache",
            logs=self.folder / "logs",
            listener=self.heard,
            stop=self.stop,
            clock=self.clock,
            sleep=self.clock.sleep,
        )
        return AttemptRun(work, desk, JOB).run()

    def events(self, attempt: int) -> list[str]:
        file = self.folder / f"models/.checkpoints/{JOB}/a{attempt}/events.jsonl"
        return [json.loads(line)["state"] for line in file.read_text().splitlines()]


def read_launch(request: LaunchRequest) -> Launch:
    return Launch.model_validate_json(Path(request.launch_path).read_text())


def leaves(
    store: ObjectStore, launch: Launch, state: JobState, reason: Reason, **said: Any
) -> None:
    outcome = Outcome(job=launch.job, attempt=launch.attempt, state=state, reason=reason, **said)
    CheckpointStore(store, launch.job).put_outcome(
        launch.attempt, outcome.model_dump(mode="json"), create_only=True
    )


def publishes(store: ObjectStore, launch: Launch, folder: Path) -> str:
    folder.mkdir(exist_ok=True)
    for name in ("config.json", "model.safetensors", "tokenizer.json", "metrics.json"):
        (folder / name).write_text("{}")
    return ModelRegistry(store).publish("camera", folder, run=launch.job).ref


def saves(store: ObjectStore, launch: Launch, step: int, folder: Path) -> None:
    checkpoints = CheckpointStore(store, launch.job)
    folder.mkdir(exist_ok=True)
    (folder / "shard").write_text("x")
    for rank in range(2):
        checkpoints.upload_rank(launch.attempt, step, rank, folder)
    metadata = {"strategy": "deepspeed", "zero_stage": 2}
    checkpoints.commit(launch.attempt, step, 2, metadata, timeout_seconds=1)


def test_a_run_from_claim_to_memory(tmp_path: Path) -> None:
    def worker(request: LaunchRequest) -> Iterator[Observation]:
        launch = read_launch(request)
        yield RUNNING
        model = publishes(bench.store, launch, tmp_path / "export")
        leaves(bench.store, launch, JobState.SUCCEEDED, Reason.COMPLETED, model=model, step=60)
        yield SUCCEEDED

    bench = Bench(tmp_path, worker)
    outcome = bench.run()
    assert (outcome.state, outcome.model, outcome.step) == (JobState.SUCCEEDED, "camera@1", 60)
    assert bench.events(1) == ["QUEUED", "STARTING", "RUNNING", "SUCCEEDED"]
    record = bench.checkpoints.attempt_record(1)
    assert record["run"] == RUN
    assert record["resumed_from"] is None
    assert record["engine"] == {
        "zero_stage": 2,
        "micro_batch_size": 16,
        "gradient_checkpointing": False,
        "offload": "none",
    }
    assert bench.heard.phases == [
        (Phase.LAUNCH, "starting Ray"),
        (Phase.LAUNCH, "starting the workers"),
    ]


def test_what_the_worker_is_given(tmp_path: Path) -> None:
    bench = Bench(tmp_path, lambda request: iter([SUCCEEDED]))
    bench.run()
    (request,) = bench.backend.launched
    launch = read_launch(request)
    assert (launch.job, launch.attempt, launch.resume) == (JOB, 1, ())
    assert launch.store == str(tmp_path / "models")
    assert launch.report_url == "http://127.0.0.1:1/api/v1/reports"
    assert launch.seconds == {Phase.PLAN: 1.5}
    assert launch.written == "kind: FineTune\n"
    assert launch.git_commit == "abc"
    # The secret is in the environment and in no file.
    token = request.environment["ORCHESTRATOR_REPORT_TOKEN"]
    assert len(token) >= 32
    assert token not in Path(request.launch_path).read_text()
    assert Path(request.launch_path).stat().st_mode & 0o777 == 0o600
    assert Path(launch.scratch).stat().st_mode & 0o777 == 0o700
    assert request.environment["DS_ACCELERATOR"] == "cpu"
    assert request.environment["HF_HUB_OFFLINE"] == "1"
    assert (request.workers, request.cpus_per_worker, request.gpus_per_worker) == (2, 1, 0)


def test_gpus_are_deepspeeds_to_find(tmp_path: Path) -> None:
    bench = Bench(tmp_path, lambda request: iter([SUCCEEDED]))
    bench.run(resources={"workers": 2, "gpus_per_worker": 1})
    (request,) = bench.backend.launched
    assert "DS_ACCELERATOR" not in request.environment
    assert request.gpus_per_worker == 1


def test_a_killed_run_is_remembered_and_the_next_attempt_goes_on(tmp_path: Path) -> None:
    def worker(request: LaunchRequest) -> Iterator[Observation]:
        launch = read_launch(request)
        yield RUNNING
        saves(bench.store, launch, 20 * launch.attempt, tmp_path / "shards")
        yield KILLED

    bench = Bench(tmp_path, worker)
    first = bench.run()
    assert (first.state, first.reason) == (JobState.FAILED, Reason.WORKER_LOST)
    assert first.hint == "run the same command again: it resumes from step 20"
    assert "The log ends with:" in (first.message or "")
    logs = tmp_path / f"logs/{JOB}-a1"
    assert (first.message or "").endswith(f"\nLogs: {logs}")
    assert [file.name for file in logs.iterdir()] == ["driver.log"]
    assert bench.checkpoints.outcome(1) == first.model_dump(mode="json")
    second = bench.run()
    assert (second.attempt, second.resumed_from_step, second.checkpoint_step) == (2, 20, 40)
    assert [(r.attempt, r.step) for r in read_launch(bench.backend.launched[1]).resume] == [(1, 20)]
    assert bench.checkpoints.attempt_record(2)["resumed_from"] == {"attempt": 1, "step": 20}


def test_a_failure_that_was_told_stays_as_it_was_told(tmp_path: Path) -> None:
    def worker(request: LaunchRequest) -> Iterator[Observation]:
        launch = read_launch(request)
        leaves(bench.store, launch, JobState.FAILED, Reason.DIVERGED, message="rank 1: nan", rank=1)
        yield Observation(KILLED.status, exit_code=1)

    bench = Bench(tmp_path, worker)
    outcome = bench.run()
    assert (outcome.reason, outcome.message, outcome.rank) == (Reason.DIVERGED, "rank 1: nan", 1)
    assert not (tmp_path / "logs").exists()


def test_exit_0_without_a_manifest_is_a_failure(tmp_path: Path) -> None:
    def worker(request: LaunchRequest) -> Iterator[Observation]:
        launch = read_launch(request)
        leaves(bench.store, launch, JobState.SUCCEEDED, Reason.COMPLETED, model="camera@1")
        yield SUCCEEDED

    bench = Bench(tmp_path, worker)
    outcome = bench.run()
    assert (outcome.state, outcome.reason) == (JobState.FAILED, Reason.NO_OUTCOME)
    assert bench.events(1)[-1] == "FAILED"


def test_what_does_not_fit_the_checkpoint_claims_nothing(tmp_path: Path) -> None:
    def worker(request: LaunchRequest) -> Iterator[Observation]:
        saves(bench.store, read_launch(request), 20, tmp_path / "shards")
        yield KILLED

    bench = Bench(tmp_path, worker)
    bench.run()
    with pytest.raises(InvalidInput, match=r"resources\.workers"):
        bench.run(resources={"workers": 1})
    assert bench.checkpoints.attempts() == [1]


def test_a_launch_that_fails_is_an_outcome(tmp_path: Path) -> None:
    bench = Bench(tmp_path, lambda request: iter([]), refuses="Ray did not come up")
    outcome = bench.run()
    assert (outcome.state, outcome.reason) == (JobState.FAILED, Reason.LAUNCH_FAILED)
    assert outcome.message == "Ray did not come up"
    assert bench.events(1) == ["QUEUED", "STARTING", "FAILED"]


def test_a_launch_that_was_interrupted_did_not_fail(tmp_path: Path) -> None:
    bench = Bench(tmp_path, lambda request: iter([]), refuses="the start of Ray was interrupted")
    bench.stop.request()
    outcome = bench.run()
    assert (outcome.state, outcome.reason) == (JobState.SUSPENDED, Reason.INTERRUPTED)
    assert bench.events(1) == ["QUEUED", "STARTING", "STOPPING", "SUSPENDED"]


def test_the_outcome_is_asked_for_until_the_store_is_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def worker(request: LaunchRequest) -> Iterator[Observation]:
        launch = read_launch(request)
        leaves(bench.store, launch, JobState.FAILED, Reason.DIVERGED, message="nan")
        outages.extend([StoreUnavailable("s3://b is away")] * 3)
        yield Observation(KILLED.status, exit_code=1)

    outages: list[StoreUnavailable] = []
    really = CheckpointStore.outcome

    def outcome(self: CheckpointStore, attempt: int) -> Any:
        if outages:
            raise outages.pop()
        return really(self, attempt)

    monkeypatch.setattr(CheckpointStore, "outcome", outcome)
    bench = Bench(tmp_path, worker)
    assert bench.run().reason is Reason.DIVERGED
    assert bench.heard.phases[-3:] == [(Phase.LAUNCH, "waiting for the store: s3://b is away")] * 3


def test_a_store_that_stays_away_is_an_outcome_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def outcome(self: CheckpointStore, attempt: int) -> Any:
        raise StoreUnavailable("s3://b is away")

    monkeypatch.setattr(CheckpointStore, "outcome", outcome)
    bench = Bench(tmp_path, lambda request: iter([SUCCEEDED]))
    ended = bench.run()
    assert (ended.state, ended.reason) == (JobState.FAILED, Reason.STORE_UNAVAILABLE)
    assert bench.clock() - 1_800_000_000 > 1800
