"""Checkpoints over a folder, memory and a real S3 server."""

from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from orchestrator.errors import IntegrityError, ObjectExists, ObjectNotFound, StoreError
from orchestrator.storage.checkpoints import Checkpoint, CheckpointStore
from orchestrator.storage.objectstore import ObjectStore

JOB = "job-01kb000000000000000000000a"


@pytest.fixture
def checkpoints(store: ObjectStore) -> CheckpointStore:
    return CheckpointStore(store, JOB)


def shard(tmp_path: Path, text: str) -> Path:
    """A rank's folder: a model shard and, one level down, an optimizer shard."""
    folder = tmp_path / text.replace("/", "-")
    (folder / "optimizer").mkdir(parents=True, exist_ok=True)
    (folder / "model.pt").write_text(f"model {text}")
    (folder / "optimizer/state.pt").write_text(f"optimizer {text}")
    return folder


def save(checkpoints: CheckpointStore, attempt: int, step: int, tmp_path: Path) -> None:
    """A complete one-rank checkpoint."""
    checkpoints.upload_rank(attempt, step, 0, shard(tmp_path, f"{attempt}/{step}"))
    checkpoints.commit(attempt, step, 1, {"step": step}, timeout_seconds=5)


def start(checkpoints: CheckpointStore) -> int:
    """Claims the next attempt as the controller does: from the resume point."""
    point = checkpoints.resume_point()
    resumed = {"attempt": point.attempt, "step": point.step} if point else None
    return checkpoints.claim_attempt({"resumed_from": resumed})


def where(found: list[Checkpoint]) -> list[tuple[int, int]]:
    return [(checkpoint.attempt, checkpoint.step) for checkpoint in found]


def complete(checkpoints: CheckpointStore, attempt: int, steps: range) -> list[int]:
    """Which of the steps are complete, asked one by one."""
    found = []
    for step in steps:
        try:
            checkpoints.checkpoint(attempt, step)
        except ObjectNotFound:
            continue
        found.append(step)
    return found


# Attempts


def test_attempts_are_numbered_and_keep_their_record(checkpoints: CheckpointStore) -> None:
    assert checkpoints.attempts() == []
    assert checkpoints.claim_attempt({"host": "a"}) == 1
    assert checkpoints.claim_attempt({"resumed_from": {"attempt": 1, "step": 20}}) == 2
    assert checkpoints.attempts() == [1, 2]
    assert checkpoints.attempt_record(1)["host"] == "a"
    assert checkpoints.attempt_record(2)["resumed_from"] == {"attempt": 1, "step": 20}
    assert checkpoints.attempt_record(2)["format"] == 1
    assert checkpoints.attempt_record(3) == {}


def test_attempt_ten_follows_nine(checkpoints: CheckpointStore) -> None:
    assert [checkpoints.claim_attempt({}) for _ in range(11)] == list(range(1, 12))
    assert checkpoints.attempts() == list(range(1, 12))


def test_eight_claimants_get_eight_numbers(checkpoints: CheckpointStore) -> None:
    with ThreadPoolExecutor(8) as pool:
        numbers = list(pool.map(lambda _: checkpoints.claim_attempt({}), range(8)))
    assert sorted(numbers) == [1, 2, 3, 4, 5, 6, 7, 8]


# A checkpoint


def test_a_checkpoint_is_complete_when_every_rank_is_there(
    checkpoints: CheckpointStore, tmp_path: Path
) -> None:
    checkpoints.claim_attempt({})
    files = checkpoints.upload_rank(1, 20, 0, shard(tmp_path, "rank-0"))
    assert [file.path for file in files.files] == ["model.pt", "optimizer/state.pt"]
    assert checkpoints.newest_complete(1) is None
    checkpoints.upload_rank(1, 20, 1, shard(tmp_path, "rank-1"))
    assert checkpoints.newest_complete(1) is None
    checkpoints.commit(1, 20, 2, {"epoch": 0.5}, timeout_seconds=5)
    newest = checkpoints.newest_complete(1)
    assert newest is not None
    assert (newest.attempt, newest.step) == (1, 20)
    assert newest.manifest.metadata == {"epoch": 0.5}
    assert newest.ref.world_size == 2
    for rank in (0, 1):
        checkpoints.fetch_rank(newest, rank, tmp_path / f"back-{rank}")
        assert (tmp_path / f"back-{rank}/model.pt").read_text() == f"model rank-{rank}"
        state = tmp_path / f"back-{rank}/optimizer/state.pt"
        assert state.read_text() == f"optimizer rank-{rank}"


def test_commit_waits_for_the_last_rank(store: ObjectStore, tmp_path: Path) -> None:
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 3:
            waiting.upload_rank(1, 20, 1, shard(tmp_path, "late"))

    waiting = CheckpointStore(store, JOB, sleep=sleep, clock=lambda: 0.0)
    waiting.upload_rank(1, 20, 0, shard(tmp_path, "early"))
    manifest = waiting.commit(1, 20, 2, {}, timeout_seconds=60)
    assert len(slept) == 3
    assert [rank.rank for rank in manifest.ranks] == [0, 1]


def test_commit_names_the_ranks_that_never_came(store: ObjectStore, tmp_path: Path) -> None:
    now = [0.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds

    checkpoints = CheckpointStore(store, JOB, sleep=sleep, clock=lambda: now[0])
    checkpoints.upload_rank(1, 20, 1, shard(tmp_path, "only"))
    with pytest.raises(StoreError) as late:
        checkpoints.commit(1, 20, 3, {}, timeout_seconds=10)
    assert "no shards of rank 0, 2 within 10 s" in str(late.value)
    assert checkpoints.newest_complete(1) is None


def test_a_committed_step_never_changes(checkpoints: CheckpointStore, tmp_path: Path) -> None:
    save(checkpoints, 1, 20, tmp_path)
    before = checkpoints.checkpoint(1, 20)
    again = checkpoints.upload_rank(1, 20, 0, shard(tmp_path, "other bytes"))
    assert again == before.manifest.ranks[0]
    assert checkpoints.commit(1, 20, 1, {"step": -1}, timeout_seconds=5) == before.manifest
    checkpoints.fetch_rank(before, 0, tmp_path / "back")
    assert (tmp_path / "back/model.pt").read_text() == "model 1/20"


@pytest.mark.parametrize("damage", ["changed", "missing"])
def test_damaged_shards_are_refused_by_name(
    checkpoints: CheckpointStore, store: ObjectStore, tmp_path: Path, damage: str
) -> None:
    save(checkpoints, 1, 20, tmp_path)
    key = f".checkpoints/{JOB}/a1/step-20/rank-0/model.pt"
    if damage == "changed":
        store.put_bytes(key, b"model 1/2O")
    else:
        store.delete(key)
    point = checkpoints.resume_point()
    assert point is not None
    with pytest.raises(IntegrityError) as damaged:
        checkpoints.fetch_rank(point, 0, tmp_path / "back")
    assert store.key_url(key) in str(damaged.value)
    assert not (tmp_path / "back/model.pt").exists()


@pytest.mark.parametrize("path", ["../../evil", "/etc/evil", "a/../../evil", "a\\evil", ""])
def test_a_manifest_that_names_paths_outside_is_no_manifest(
    checkpoints: CheckpointStore, store: ObjectStore, tmp_path: Path, path: str
) -> None:
    save(checkpoints, 1, 20, tmp_path)
    save(checkpoints, 1, 40, tmp_path)
    key = f".checkpoints/{JOB}/a1/step-40/manifest.json"
    manifest = json.loads(store.get_bytes(key))
    manifest["ranks"][0]["files"][0]["path"] = path
    store.put_bytes(key, json.dumps(manifest).encode())
    with pytest.raises(IntegrityError) as refused:
        checkpoints.checkpoint(1, 40)
    assert "not a plain relative path" in str(refused.value)
    assert where(checkpoints.candidates()) == [(1, 20)]


def test_a_torn_manifest_is_passed_over(
    checkpoints: CheckpointStore, store: ObjectStore, tmp_path: Path
) -> None:
    save(checkpoints, 1, 20, tmp_path)
    save(checkpoints, 1, 40, tmp_path)
    store.put_bytes(f".checkpoints/{JOB}/a1/step-40/manifest.json", b'{"attempt": 1, "st')
    point = checkpoints.resume_point()
    assert point is not None
    assert point.step == 20


# Where to resume


def test_nothing_to_resume_from(checkpoints: CheckpointStore) -> None:
    assert checkpoints.resume_point() is None
    start(checkpoints)
    assert checkpoints.resume_point() is None
    assert checkpoints.candidates() == []


def test_the_highest_step_is_the_newest(checkpoints: CheckpointStore, tmp_path: Path) -> None:
    start(checkpoints)
    for step in (9, 100, 20):
        save(checkpoints, 1, step, tmp_path)
    assert where(checkpoints.candidates()) == [(1, 100), (1, 20), (1, 9)]


def test_an_attempts_own_checkpoints_come_first_then_those_it_resumed_from(
    checkpoints: CheckpointStore, tmp_path: Path
) -> None:
    start(checkpoints)
    for step in (10, 20):
        save(checkpoints, 1, step, tmp_path)
    assert start(checkpoints) == 2  # resumed from (1, 20)
    assert where(checkpoints.candidates()) == [(1, 20), (1, 10)]
    save(checkpoints, 1, 30, tmp_path)  # attempt 1 was given up, but its ranks live on
    assert where(checkpoints.candidates()) == [(1, 20), (1, 10)]
    save(checkpoints, 2, 25, tmp_path)
    assert where(checkpoints.candidates()) == [(2, 25), (1, 20), (1, 10)]
    point = checkpoints.resume_point()
    assert point is not None
    assert (point.attempt, point.step) == (2, 25)


def test_an_attempt_that_saved_nothing_hands_its_origin_on(
    checkpoints: CheckpointStore, tmp_path: Path
) -> None:
    start(checkpoints)
    save(checkpoints, 1, 20, tmp_path)
    assert start(checkpoints) == 2
    assert start(checkpoints) == 3
    assert checkpoints.attempt_record(3)["resumed_from"] == {"attempt": 1, "step": 20}
    assert where(checkpoints.candidates()) == [(1, 20)]


def test_an_origin_that_is_gone_means_the_attempt_before(
    checkpoints: CheckpointStore, tmp_path: Path
) -> None:
    start(checkpoints)
    save(checkpoints, 1, 20, tmp_path)
    start(checkpoints)
    save(checkpoints, 2, 30, tmp_path)
    checkpoints.claim_attempt({"resumed_from": {"attempt": 2, "step": 40}})
    assert where(checkpoints.candidates()) == [(2, 30), (1, 20)]


def test_a_fresh_start_still_falls_back_on_older_attempts(
    checkpoints: CheckpointStore, tmp_path: Path
) -> None:
    start(checkpoints)
    start(checkpoints)  # attempt 1 had saved nothing yet
    save(checkpoints, 1, 20, tmp_path)
    assert where(checkpoints.candidates()) == [(1, 20)]
    save(checkpoints, 2, 10, tmp_path)
    assert where(checkpoints.candidates()) == [(2, 10), (1, 20)]


# Retention


def test_retention_keeps_the_newest(checkpoints: CheckpointStore, tmp_path: Path) -> None:
    start(checkpoints)
    for step in (10, 20, 30, 40):
        save(checkpoints, 1, step, tmp_path)
    checkpoints.retain(2)
    assert complete(checkpoints, 1, range(10, 50, 10)) == [30, 40]
    checkpoints.fetch_rank(checkpoints.checkpoint(1, 30), 0, tmp_path / "back")
    assert (tmp_path / "back/model.pt").read_text() == "model 1/30"


def test_retention_counts_over_attempts_and_protects(
    checkpoints: CheckpointStore, tmp_path: Path
) -> None:
    start(checkpoints)
    for step in (10, 20, 30):
        save(checkpoints, 1, step, tmp_path)
    start(checkpoints)
    save(checkpoints, 1, 35, tmp_path)  # after attempt 2 took over: never used again
    save(checkpoints, 2, 40, tmp_path)
    checkpoints.retain(2, {(1, 10)})
    assert complete(checkpoints, 1, range(10, 45, 5)) == [10, 30]
    assert complete(checkpoints, 2, range(10, 45, 5)) == [40]
    checkpoints.retain(1)
    assert complete(checkpoints, 1, range(10, 45, 5)) == []
    assert complete(checkpoints, 2, range(10, 45, 5)) == [40]


def test_retention_before_the_first_save_keeps_what_was_resumed_from(
    checkpoints: CheckpointStore, tmp_path: Path
) -> None:
    start(checkpoints)
    save(checkpoints, 1, 10, tmp_path)
    save(checkpoints, 1, 20, tmp_path)
    start(checkpoints)
    checkpoints.retain(1)
    assert where(checkpoints.candidates()) == [(1, 20)]


def test_retention_clears_leftovers_of_older_attempts_only(
    checkpoints: CheckpointStore, store: ObjectStore, tmp_path: Path
) -> None:
    start(checkpoints)
    save(checkpoints, 1, 10, tmp_path)
    checkpoints.upload_rank(1, 20, 0, shard(tmp_path, "never committed"))
    start(checkpoints)
    save(checkpoints, 2, 30, tmp_path)
    checkpoints.upload_rank(2, 40, 0, shard(tmp_path, "on its way"))
    checkpoints.retain(2)
    keys = [info.key for info in store.list(f".checkpoints/{JOB}")]
    assert not [key for key in keys if "/a1/step-20/" in key]
    assert len([key for key in keys if "/a2/step-40/" in key]) == 3
    checkpoints.commit(2, 40, 1, {}, timeout_seconds=5)
    assert where(checkpoints.candidates()) == [(2, 40), (2, 30), (1, 10)]


def test_half_a_deletion_is_no_checkpoint(
    checkpoints: CheckpointStore, store: ObjectStore, tmp_path: Path
) -> None:
    """A crash between the manifest's deletion and that of the shards."""
    start(checkpoints)
    save(checkpoints, 1, 10, tmp_path)
    save(checkpoints, 1, 20, tmp_path)

    class Crash(Exception):
        pass

    def crash(prefix: str) -> None:
        raise Crash

    checkpoints._store.delete_prefix = crash  # type: ignore[method-assign]
    with pytest.raises(Crash):
        checkpoints.retain(1)
    assert where(CheckpointStore(store, JOB).candidates()) == [(1, 20)]


# Other blobs


def test_outcomes(checkpoints: CheckpointStore) -> None:
    assert checkpoints.outcome(1) is None
    checkpoints.put_outcome(1, {"state": "FAILED"}, create_only=True)
    with pytest.raises(ObjectExists):
        checkpoints.put_outcome(1, {"state": "LATE"}, create_only=True)
    assert checkpoints.outcome(1) == {"state": "FAILED"}
    checkpoints.put_outcome(1, {"state": "SUCCEEDED", "metrics": {"a": {"f1": 0.5}}})
    assert checkpoints.outcome(1) == {"state": "SUCCEEDED", "metrics": {"a": {"f1": 0.5}}}


def test_histories_and_logs(
    checkpoints: CheckpointStore, store: ObjectStore, tmp_path: Path
) -> None:
    assert checkpoints.history(1) == []
    rows: list[dict[str, Any]] = [{"step": 1, "loss": 0.7}, {"step": 2, "text": "a\nb é"}]
    checkpoints.put_history(1, rows[:1])
    checkpoints.put_history(1, rows)
    assert checkpoints.history(1) == rows
    (tmp_path / "log").write_text("line\n")
    url = checkpoints.put_log(1, 0, tmp_path / "log")
    assert url == store.key_url(f".checkpoints/{JOB}/a1/logs/rank-0.log")
    assert store.get_bytes(f".checkpoints/{JOB}/a1/logs/rank-0.log") == b"line\n"


def test_kept_weights(checkpoints: CheckpointStore, store: ObjectStore, tmp_path: Path) -> None:
    folder = tmp_path / "weights"
    folder.mkdir()
    weights = os.urandom(1000)
    (folder / "model.safetensors").write_bytes(weights)
    checkpoints.put_weights(1, 20, folder, {"f1": 0.5})
    checkpoints.put_weights(1, 40, folder, {"f1": 0.6})
    assert checkpoints.weights(1) == [20, 40]
    assert checkpoints.weights(2) == []
    assert checkpoints.newest_complete(1) is None
    assert checkpoints.fetch_weights(1, 40, tmp_path / "back") == {"f1": 0.6}
    assert (tmp_path / "back/model.safetensors").read_bytes() == weights
    store.put_bytes(f".checkpoints/{JOB}/a1/weights/step-40/model.safetensors", b"changed")
    with pytest.raises(IntegrityError):
        checkpoints.fetch_weights(1, 40, tmp_path / "again")
    checkpoints.delete_weights(1, 40)
    assert checkpoints.weights(1) == [20]
    with pytest.raises(ObjectNotFound):
        checkpoints.fetch_weights(1, 40, tmp_path / "gone")


def test_kept_weights_survive_retention(checkpoints: CheckpointStore, tmp_path: Path) -> None:
    start(checkpoints)
    checkpoints.put_weights(1, 10, shard(tmp_path, "best"), {})
    for step in (10, 20):
        save(checkpoints, 1, step, tmp_path)
    start(checkpoints)
    save(checkpoints, 2, 30, tmp_path)
    checkpoints.retain(1)
    assert checkpoints.weights(1) == [10]


def test_an_uploaded_part_without_its_list_does_not_count(
    checkpoints: CheckpointStore, store: ObjectStore, tmp_path: Path
) -> None:
    """The rank died between its shards and its list."""
    store.put_bytes(f".checkpoints/{JOB}/a1/step-20/rank-1/model.pt", b"shard")
    checkpoints.upload_rank(1, 20, 0, shard(tmp_path, "rank-0"))
    with pytest.raises(StoreError):
        checkpoints.commit(1, 20, 2, {}, timeout_seconds=0)
