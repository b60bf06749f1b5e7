from __future__ import annotations

import json
import multiprocessing
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator.control.backends import fake_machines
from orchestrator.control.backends.base import AttemptHandle, AttemptStatus, LaunchRequest, NodeInfo
from orchestrator.control.backends.fake_machines import FakeMachines, FakeScript
from orchestrator.errors import LaunchFailed, StoreUnavailable
from orchestrator.records import JobState, Outcome, Reason
from orchestrator.storage.checkpoints import CheckpointStore
from orchestrator.storage.objectstore import open_store
from orchestrator.storage.registry import ModelRegistry
from tests.control.builders import JOB, Clock, launch_of

HANDLE = AttemptHandle(JOB, 1)
SCRIPT = FakeScript((NodeInfo("n", 2),), 100.0, {"broken-*": Reason.OUT_OF_MEMORY})


class Bench:
    def __init__(self, folder: Path) -> None:
        self.folder, self.clock = folder, Clock()
        self.store = open_store(str(folder / "models"))

    def server(self) -> FakeMachines:
        return FakeMachines("toy", self.folder / "state", SCRIPT, clock=self.clock)

    def launch(self, name: str = "camera", attempt: int = 1) -> AttemptHandle:
        file = self.folder / f"launch-{attempt}.json"
        launch = launch_of(JOB, name, store=self.folder / "models", attempt=attempt)
        file.write_text(launch.model_dump_json())
        return self.server().launch(LaunchRequest(JOB, attempt, str(file)))

    def outcome(self, attempt: int = 1) -> Outcome | None:
        found = CheckpointStore(self.store, JOB).outcome(attempt)
        return Outcome.model_validate(found) if found else None


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_time_passes_whoever_serves(bench: Bench) -> None:
    bench.launch()
    seen = []
    for _ in range(12):
        seen.append(bench.server().observe(HANDLE).status.value)
        bench.clock.sleep(10.0)
    assert seen == ["PENDING", *["RUNNING"] * 9, "SUCCEEDED", "SUCCEEDED"]


def test_a_second_launch_does_not_begin_again(bench: Bench) -> None:
    bench.launch()
    bench.clock.sleep(99.0)
    bench.launch()
    bench.clock.sleep(1.0)
    assert bench.server().observe(HANDLE).status is AttemptStatus.SUCCEEDED


def test_success_leaves_what_a_real_one_leaves(bench: Bench) -> None:
    bench.launch()
    assert bench.outcome() is None
    bench.clock.sleep(100.0)
    bench.server().observe(HANDLE)
    outcome = bench.outcome()
    assert outcome is not None
    assert (outcome.state, outcome.reason) == (JobState.SUCCEEDED, Reason.COMPLETED)
    assert outcome.model == "camera@1"
    registry = ModelRegistry(bench.store)
    (version,) = registry.versions("camera")
    assert version.run == JOB
    assert registry.verify(version) == []
    lineage = registry.read_json(version, "lineage.json")
    assert lineage["spec"]["resolved"]["metadata"]["name"] == "camera"


def test_its_weights_are_safetensors(bench: Bench) -> None:
    from safetensors.torch import load_file

    bench.launch()
    bench.clock.sleep(100.0)
    bench.server().observe(HANDLE)
    tensors = load_file(bench.folder / "models/camera/1/model.safetensors")
    assert {name: tensor.tolist() for name, tensor in tensors.items()} == {"weight": [0.0]}


def test_a_name_may_be_made_to_fail(bench: Bench) -> None:
    bench.launch("broken-thing")
    bench.clock.sleep(100.0)
    seen = bench.server().observe(HANDLE)
    assert (seen.status, seen.exit_code) == (AttemptStatus.FAILED, 1)
    outcome = bench.outcome()
    assert outcome is not None
    assert (outcome.state, outcome.reason) == (JobState.FAILED, Reason.OUT_OF_MEMORY)
    assert ModelRegistry(bench.store).versions("broken-thing") == []


def test_a_stop_counts_only_before_the_end(bench: Bench) -> None:
    bench.launch()
    bench.launch(attempt=2)
    bench.clock.sleep(50.0)
    bench.server().stop(HANDLE)
    bench.clock.sleep(60.0)
    second = AttemptHandle(JOB, 2)
    bench.server().stop(second)  # too late: it had ended already
    assert bench.server().observe(HANDLE).status is AttemptStatus.STOPPED
    assert bench.server().observe(second).status is AttemptStatus.SUCCEEDED
    assert bench.outcome(1) is None


def test_a_store_that_is_away_is_waited_for(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.launch()
    bench.clock.sleep(100.0)

    def away(*_: object) -> None:
        raise StoreUnavailable("the store is away")

    with monkeypatch.context() as patched:
        patched.setattr(fake_machines, "leave_model", away)
        seen = bench.server().observe(HANDLE)
        assert (seen.status, seen.message) == (AttemptStatus.RUNNING, "the store is away")
    assert bench.server().observe(HANDLE).status is AttemptStatus.SUCCEEDED


@pytest.mark.parametrize("killed_after", ["publish", "outcome"])
def test_whoever_is_killed_while_leaving_is_followed_by_the_next(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, killed_after: str
) -> None:
    """An exception nobody catches stands for the end of the process."""
    bench.launch()
    bench.clock.sleep(100.0)

    class Killed(BaseException):
        pass

    def die(*_: object, **__: object) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        if killed_after == "publish":
            patched.setattr(CheckpointStore, "put_outcome", die)
        else:
            patched.setattr(Path, "touch", die)
        with pytest.raises(Killed):
            bench.server().observe(HANDLE)
    first = bench.outcome()
    assert bench.server().observe(HANDLE).status is AttemptStatus.SUCCEEDED
    assert [v.ref for v in ModelRegistry(bench.store).versions("camera")] == ["camera@1"]
    assert first in (None, bench.outcome())


def look(folder: Path, now: float, start: Callable[[float], object]) -> None:
    start(30.0)
    machines = FakeMachines("toy", folder / "state", SCRIPT, clock=lambda: now)
    assert machines.observe(HANDLE).status is AttemptStatus.SUCCEEDED


def test_several_who_look_at_once_publish_once(bench: Bench) -> None:
    bench.launch()
    bench.clock.sleep(100.0)
    context = multiprocessing.get_context("spawn")  # a fork would copy obstore without its threads
    barrier = context.Barrier(4)
    arguments = (bench.folder, bench.clock.now, barrier.wait)
    lookers = [context.Process(target=look, args=arguments) for _ in range(4)]
    for looker in lookers:
        looker.start()
    try:
        for looker in lookers:
            looker.join(60)
        assert [looker.exitcode for looker in lookers] == [0, 0, 0, 0]
    finally:
        for looker in lookers:
            looker.kill()  # nothing at the end of the suite waits for one that hangs
    assert [v.ref for v in ModelRegistry(bench.store).versions("camera")] == ["camera@1"]


def test_a_launch_that_cannot_be_read_is_refused(bench: Bench) -> None:
    torn = bench.folder / "torn.json"
    torn.write_text(json.dumps({"job": JOB}))
    for path in (torn, bench.folder / "nowhere.json"):
        with pytest.raises(LaunchFailed, match=path.name):
            bench.server().launch(LaunchRequest(JOB, 1, str(path)))
    assert bench.server().observe(HANDLE).status is AttemptStatus.ABSENT
