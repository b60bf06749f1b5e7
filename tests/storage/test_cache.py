"""Local copies of stored data, over memory and a real S3 server."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from orchestrator.errors import IntegrityError, NotFound
from orchestrator.storage.cache import local_copy
from orchestrator.storage.objectstore import ObjectStore, open_store
from orchestrator.storage.registry import ModelRegistry


@pytest.fixture(params=["memory", "s3"])
def remote(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    if request.param == "memory":
        store = open_store(f"memory://{tmp_path.name}/data")
    else:
        server = request.getfixturevalue("s3_env")
        store = open_store(server.url(f"{tmp_path.name}/data"))
    store.put_bytes("camera/train.jsonl", b"train\n")
    store.put_bytes("camera/test.jsonl", b"test\n")
    store.put_bytes("camera/README.md", b"about\n")
    store.put_bytes("movie/2024/test.jsonl", b"movie\n")
    return store


def test_a_file_keeps_its_name_and_is_fetched_once(
    remote: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = remote.key_url("camera/train.jsonl")
    path = local_copy(url, cache_dir=tmp_path / "cache")
    assert path.name == "train.jsonl"
    assert path.read_bytes() == b"train\n"

    def fetched(*args: object, **kwargs: object) -> None:
        raise AssertionError("the copy is there already")

    monkeypatch.setattr(ObjectStore, "get_file", fetched)
    assert local_copy(url, cache_dir=tmp_path / "cache") == path


def test_a_changed_object_is_fetched_again(remote: ObjectStore, tmp_path: Path) -> None:
    url = remote.key_url("camera/train.jsonl")
    before = local_copy(url, cache_dir=tmp_path)
    remote.put_bytes("camera/train.jsonl", b"other\n")
    after = local_copy(url, cache_dir=tmp_path)
    assert after.read_bytes() == b"other\n"
    assert before.read_bytes() == b"train\n"


def test_a_folder_is_copied_as_it_is(remote: ObjectStore, tmp_path: Path) -> None:
    remote.put_bytes("camera/.probe/x", b"hidden")
    folder = local_copy(remote.url, cache_dir=tmp_path)
    found = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
    assert found == [
        "camera/README.md",
        "camera/test.jsonl",
        "camera/train.jsonl",
        "movie/2024/test.jsonl",
    ]
    assert local_copy(remote.url + "/", cache_dir=tmp_path) == folder


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("camera/*.jsonl", ["test.jsonl", "train.jsonl"]),
        ("*/test.jsonl", ["camera/test.jsonl"]),
        ("**/test.jsonl", ["camera/test.jsonl", "movie/2024/test.jsonl"]),
        ("camera/[t]rain.*", ["train.jsonl"]),
    ],
)
def test_patterns(remote: ObjectStore, tmp_path: Path, pattern: str, expected: list[str]) -> None:
    folder = local_copy(f"{remote.url}/{pattern}", cache_dir=tmp_path)
    found = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
    assert found == expected


@pytest.mark.parametrize("absent", ["camera/valid.jsonl", "tweet", "tweet/*.jsonl"])
def test_what_is_not_there_is_named(remote: ObjectStore, tmp_path: Path, absent: str) -> None:
    with pytest.raises(NotFound) as missing:
        local_copy(f"{remote.url}/{absent}", cache_dir=tmp_path / "cache")
    assert f"{remote.url}/{absent}" in str(missing.value)
    assert not (tmp_path / "cache").exists()


def test_eight_callers_share_one_copy(remote: ObjectStore, tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        paths = set(pool.map(lambda _: local_copy(remote.url, cache_dir=tmp_path / "c"), range(8)))
    assert len(paths) == 1
    assert [path.name for path in (tmp_path / "c").iterdir()] == ["copies"]
    assert len(list((tmp_path / "c/copies").iterdir())) == 1


def test_a_published_model_is_verified_on_the_way(remote: ObjectStore, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "config.json").write_text("{}")
    version = ModelRegistry(remote).publish("sentiment", source, run="job-a")
    folder = local_copy(version.url, cache_dir=tmp_path / "cache")
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "manifest.json"]
    remote.put_bytes("sentiment/1/config.json", b"[]")
    with pytest.raises(IntegrityError):
        local_copy(version.url, cache_dir=tmp_path / "cache")
    assert len(list((tmp_path / "cache/copies").iterdir())) == 1


def test_local_paths_are_returned_as_they_are(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    assert local_copy(str(tmp_path / "data.jsonl"), cache_dir=cache) == tmp_path / "data.jsonl"
    assert local_copy(f"file://{tmp_path}/a", cache_dir=cache) == tmp_path / "a"
    assert not cache.exists()
