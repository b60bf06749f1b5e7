"""The contract of a store, over a folder, memory and a real S3 server."""

from __future__ import annotations

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from orchestrator.errors import IntegrityError, ObjectExists, ObjectNotFound
from orchestrator.storage.objectstore import ObjectStore, open_store


def keys(store: ObjectStore, prefix: str = "") -> list[str]:
    return [info.key for info in store.list(prefix)]


def test_what_is_put_is_got(store: ObjectStore) -> None:
    store.put_bytes("a/b.json", b"first")
    store.put_bytes("a/b.json", b"second")
    assert store.get_bytes("a/b.json") == b"second"
    assert store.size("a/b.json") == 6


def test_an_absent_key_is_not_found_and_named(store: ObjectStore) -> None:
    with pytest.raises(ObjectNotFound) as absent:
        store.get_bytes("a/nothing")
    assert store.url in str(absent.value)
    assert store.size("a/nothing") is None
    assert store.head("a/nothing") is None


def test_create_only_never_overwrites(store: ObjectStore) -> None:
    store.put_bytes("claim", b"mine", create_only=True)
    with pytest.raises(ObjectExists) as exists:
        store.put_bytes("claim", b"mine", create_only=True)
    assert store.key_url("claim") in str(exists.value)
    assert store.get_bytes("claim") == b"mine"


def test_of_eight_creators_one_wins(store: ObjectStore) -> None:
    def create(number: int) -> bool:
        try:
            store.put_bytes("race", str(number).encode(), create_only=True)
        except ObjectExists:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(create, range(8)))
    assert sum(won) == 1
    assert store.get_bytes("race") == str(won.index(True)).encode()


@pytest.mark.parametrize("size", [0, 11, 17 * 1024 * 1024])
def test_files_go_and_come_with_their_hash(store: ObjectStore, tmp_path: Path, size: int) -> None:
    data = os.urandom(size)
    source, target = tmp_path / "source", tmp_path / "new folder" / "target"
    source.write_bytes(data)
    entry = store.put_file("weights/model.safetensors", source)
    assert entry.path == "weights/model.safetensors"
    assert entry.size_bytes == size
    assert entry.sha256 == hashlib.sha256(data).hexdigest()
    assert store.size("weights/model.safetensors") == size
    store.get_file("weights/model.safetensors", target, sha256=entry.sha256)
    assert target.read_bytes() == data
    assert [path.name for path in target.parent.iterdir()] == ["target"]


def test_other_bytes_than_promised_leave_the_old_file(store: ObjectStore, tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_bytes(b"old")
    store.put_bytes("a", b"changed")
    with pytest.raises(IntegrityError) as damaged:
        store.get_file("a", target, sha256=hashlib.sha256(b"promised").hexdigest())
    assert store.key_url("a") in str(damaged.value)
    assert target.read_bytes() == b"old"
    assert not list(tmp_path.glob(".*.part"))


def test_list_sees_whole_parts_of_keys(store: ObjectStore) -> None:
    before = datetime.now(UTC) - timedelta(minutes=5)
    for key in ("a1/x", "a10/x", "a1/step-2/y", "top"):
        store.put_bytes(key, b"12345")
    assert keys(store) == ["a1/step-2/y", "a1/x", "a10/x", "top"]
    assert keys(store, "a1") == ["a1/step-2/y", "a1/x"]
    assert keys(store, "a") == []
    assert store.list_dirs() == ["a1", "a10"]
    assert store.list_dirs("a1") == ["step-2"]
    assert store.list_dirs("absent") == []
    info = next(store.list("a10"))
    assert info.size_bytes == 5
    assert before < info.modified < datetime.now(UTC) + timedelta(minutes=5)


def test_an_empty_store_lists_nothing_and_creates_nothing(store: ObjectStore) -> None:
    assert keys(store) == []
    assert store.list_dirs() == []
    store.probe_readable()
    store.delete("absent")
    store.delete_prefix("absent")
    if store.local_path is not None:
        assert not store.local_path.exists()


def test_odd_names_survive(store: ObjectStore) -> None:
    odd = "data/ü é#%41~ (1).json"
    store.put_bytes(odd, b"1")
    assert keys(store) == [odd]
    assert store.get_bytes(odd) == b"1"
    store.delete(odd)
    assert keys(store) == []


def test_children_share_the_store(store: ObjectStore, store_url: str) -> None:
    child = store.child("models/a")
    child.put_bytes("1/config.json", b"{}")
    assert keys(store) == ["models/a/1/config.json"]
    assert keys(child) == ["1/config.json"]
    assert child.url == f"{store.url}/models/a"
    assert child.key_url("1") == f"{store.url}/models/a/1"
    assert open_store(f"{store_url}/models").get_bytes("a/1/config.json") == b"{}"


def test_delete_prefix_takes_all_below_and_nothing_beside(store: ObjectStore) -> None:
    for key in ("a1/x", "a1/b/y", "a10/x"):
        store.put_bytes(key, b"1")
    store.delete_prefix("a1")
    assert keys(store) == ["a10/x"]
    if not store.url.startswith("s3:"):  # SeaweedFS shows an emptied prefix for a while
        assert store.list_dirs() == ["a10"]


def test_a_writable_store_passes_the_probe_and_keeps_nothing_of_it(store: ObjectStore) -> None:
    store.probe_writable()
    assert keys(store) == []
    if store.local_path is not None:
        assert list(store.local_path.iterdir()) == []


def test_what_a_killed_writer_left_in_a_folder_is_no_object(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "store"))
    store.put_bytes("step/rank-0.bin", b"1")
    (tmp_path / "store/step/rank-1.bin#1").write_bytes(b"half")
    assert keys(store) == ["step/rank-0.bin"]
    store.delete_prefix("step")
    assert not (tmp_path / "store/step").exists()


def test_a_folder_with_an_odd_name_is_a_store(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "my #1 models%20 é?"))
    store.put_bytes("a/b", b"1")
    assert keys(store) == ["a/b"]
    assert (tmp_path / "my #1 models%20 é?/a/b").read_bytes() == b"1"
