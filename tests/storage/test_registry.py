"""The model registry over a folder, memory and a real S3 server."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest

from orchestrator.errors import IntegrityError, NotFound, ObjectNotFound, UserError
from orchestrator.storage.objectstore import FileEntry, ObjectStore, open_store
from orchestrator.storage.registry import ModelRegistry, VerifyIssue

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


@pytest.fixture
def registry(store: ObjectStore) -> ModelRegistry:
    return ModelRegistry(store, now=lambda: NOW)


def model(tmp_path: Path, text: str = "weights") -> Path:
    folder = tmp_path / f"model-{text}"
    (folder / "extra").mkdir(parents=True, exist_ok=True)
    (folder / "model.safetensors").write_text(text)
    (folder / "config.json").write_text('{"model_type": "bert"}')
    (folder / "vocab.txt").write_text("[PAD]")
    (folder / "extra/metrics.json").write_text('{"test": {"camera": {"f1": 0.5}}}')
    (folder / "LICENSE").write_text("Apache-2.0")
    return folder


def issues(found: list[VerifyIssue]) -> list[tuple[str, str]]:
    return [(issue.path, issue.kind) for issue in found]


# Publishing


def test_a_published_version_says_all_about_itself(
    registry: ModelRegistry, store: ObjectStore, tmp_path: Path
) -> None:
    version = registry.publish("sentiment", model(tmp_path), run="job-a")
    assert version.ref == "sentiment@1"
    assert version.url == f"{store.url}/sentiment/1"
    assert (version.run, version.created_at) == ("job-a", NOW)
    assert [file.path for file in version.files] == [
        "LICENSE",
        "config.json",
        "extra/metrics.json",
        "model.safetensors",
        "vocab.txt",
    ]
    assert version.size_bytes == 10 + 22 + 33 + 7 + 5
    assert registry.resolve("sentiment") == version
    assert registry.versions("sentiment") == [version]
    assert registry.models() == ["sentiment"]
    assert registry.aliases("sentiment") == {"latest": 1}
    assert registry.read_json(version, "extra/metrics.json")["test"]["camera"]["f1"] == 0.5
    assert json.loads(store.get_bytes("sentiment/.aliases/latest.json")) == {
        "format": 1,
        "version": 1,
    }
    assert registry.verify(version) == []


def test_the_files_lie_as_they_were(registry: ModelRegistry, tmp_path: Path) -> None:
    """What `from_pretrained` is given, for a store that is a folder."""
    registry = ModelRegistry(open_store(str(tmp_path / "models")))
    version = registry.publish("sentiment", model(tmp_path), run="job-a")
    folder = Path(version.url)
    assert folder == tmp_path / "models/sentiment/1"
    assert (folder / "model.safetensors").read_text() == "weights"
    assert (folder / "extra/metrics.json").is_file()


def test_each_run_gets_a_version_and_keeps_it(registry: ModelRegistry, tmp_path: Path) -> None:
    first = registry.publish("sentiment", model(tmp_path, "one"), run="job-a")
    second = registry.publish("sentiment", model(tmp_path, "two"), run="job-b")
    other = registry.publish("topics", model(tmp_path, "three"), run="job-a")
    again = registry.publish("sentiment", model(tmp_path, "never used"), run="job-a")
    assert [first.version, second.version, other.version] == [1, 2, 1]
    assert again == first
    assert registry.find_by_run("sentiment", "job-b") == second
    assert registry.find_by_run("sentiment", "job-c") is None
    assert registry.models() == ["sentiment", "topics"]
    assert registry.aliases("sentiment") == {"latest": 2}


def test_eight_publishers_at_once_get_eight_versions(
    registry: ModelRegistry, tmp_path: Path
) -> None:
    folders = [model(tmp_path, f"w{number}") for number in range(8)]
    barrier = threading.Barrier(8)

    def publish(number: int) -> int:
        barrier.wait()
        return registry.publish("race", folders[number], run=f"job-{number}").version

    with ThreadPoolExecutor(8) as pool:
        numbers = list(pool.map(publish, range(8)))
    assert sorted(numbers) == [1, 2, 3, 4, 5, 6, 7, 8]
    assert registry.aliases("race") == {"latest": 8}
    latest = open_store_of(registry).get_bytes("race/.aliases/latest.json")
    assert json.loads(latest)["version"] == 8
    for version in registry.versions("race"):
        assert version.run == f"job-{numbers.index(version.version)}"
        assert registry.verify(version) == []


def open_store_of(registry: ModelRegistry) -> ObjectStore:
    return registry._store


def test_eight_publishers_of_one_run_make_one_version(
    registry: ModelRegistry, tmp_path: Path
) -> None:
    folder = model(tmp_path)
    barrier = threading.Barrier(8)

    def publish(_: int) -> int:
        barrier.wait()
        return registry.publish("race", folder, run="job-a").version

    with ThreadPoolExecutor(8) as pool:
        numbers = list(pool.map(publish, range(8)))
    assert numbers == [1] * 8
    assert [version.version for version in registry.versions("race")] == [1]
    assert open_store_of(registry).list_dirs("race") == [".aliases", "1"]


def test_an_interrupted_publisher_is_completed_by_the_retry(
    registry: ModelRegistry, store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    uploaded: list[str] = []
    put_file = ObjectStore.put_file_tagged

    def killed_at_the_third(
        self: ObjectStore, key: str, path: Path
    ) -> tuple[FileEntry, str | None]:
        uploaded.append(key)
        if len(uploaded) == 3:
            raise Killed
        return put_file(self, key, path)

    folder = model(tmp_path, "first try")
    (folder / "a-leftover.json").write_text("{}")
    with monkeypatch.context() as patch:
        patch.setattr(ObjectStore, "put_file_tagged", killed_at_the_third)
        with pytest.raises(Killed):
            registry.publish("sentiment", folder, run="job-a")
    assert registry.models() == []
    assert registry.versions("sentiment") == []
    with pytest.raises(NotFound):
        registry.resolve("sentiment")

    other = registry.publish("sentiment", model(tmp_path, "other"), run="job-b")
    version = registry.publish("sentiment", model(tmp_path, "second try"), run="job-a")
    assert (version.version, other.version) == (1, 2)
    assert registry.verify(version) == []
    assert store.get_bytes("sentiment/1/model.safetensors") == b"second try"
    assert registry.aliases("sentiment") == {"latest": 2}


def test_a_number_whose_claim_is_still_being_written_is_contended_for(
    registry: ModelRegistry, tmp_path: Path
) -> None:
    """In a folder `2/` shows before its claim; skipping it could give one run two versions."""
    registry = ModelRegistry(open_store(str(tmp_path / "models")))
    registry.publish("sentiment", model(tmp_path, "one"), run="job-a")
    (tmp_path / "models/sentiment/2").mkdir()
    assert registry.publish("sentiment", model(tmp_path, "two"), run="job-b").version == 2


def test_a_faster_process_of_the_same_run_is_not_disturbed(
    registry: ModelRegistry, store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It publishes while ours has uploaded its last file and not yet written the manifest."""
    put_file = ObjectStore.put_file_tagged
    faster = ModelRegistry(store, now=lambda: NOW)
    folder = model(tmp_path)

    def overtaken(self: ObjectStore, key: str, path: Path) -> tuple[FileEntry, str | None]:
        sent = put_file(self, key, path)
        if key == "vocab.txt":
            monkeypatch.undo()
            faster._complete("sentiment", folder, sorted(files), "job-a")
        return sent

    files = ["LICENSE", "config.json", "extra/metrics.json", "model.safetensors", "vocab.txt"]
    monkeypatch.setattr(ObjectStore, "put_file_tagged", overtaken)
    version = registry._complete("sentiment", folder, files, "job-a")
    assert version.version == 1
    assert registry.verify(version) == []
    assert len(registry.versions("sentiment")) == 1


def test_latest_never_moves_back(registry: ModelRegistry, tmp_path: Path) -> None:
    """Version 1 is completed after version 2 was published: see above; here the alias object."""
    registry.publish("sentiment", model(tmp_path, "one"), run="job-a")
    registry.publish("sentiment", model(tmp_path, "two"), run="job-b")
    registry.publish("sentiment", model(tmp_path, "one"), run="job-a")
    alias = open_store_of(registry).get_bytes("sentiment/.aliases/latest.json")
    assert json.loads(alias)["version"] == 2


def test_bytes_swapped_during_the_upload_are_noticed(
    registry: ModelRegistry, store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_file = ObjectStore.put_file_tagged

    def swapped(self: ObjectStore, key: str, path: Path) -> tuple[FileEntry, str | None]:
        sent = put_file(self, key, path)
        if key == "model.safetensors":
            self.put_bytes(key, b"WEIGHTS")  # the same size, from another process
        return sent

    monkeypatch.setattr(ObjectStore, "put_file_tagged", swapped)
    with pytest.raises(IntegrityError) as noticed:
        registry.publish("sentiment", model(tmp_path), run="job-a")
    assert store.key_url("sentiment/1/model.safetensors") in str(noticed.value)
    assert registry.versions("sentiment") == []


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("pytorch_model.bin", "may be a pickle"),
        ("optimizer.pt", "may be a pickle"),
        ("sub/state.pkl", "save the weights as safetensors"),
        ("weights.pth", "may be a pickle"),
        ("modeling.py", "is no kind of file a published model holds"),
        ("manifest.json", "is a name the registry uses itself"),
        (".claim.json", "is a name the registry uses itself"),
    ],
)
def test_what_must_not_be_published_is_refused_before_a_number_is_taken(
    registry: ModelRegistry, store: ObjectStore, tmp_path: Path, file: str, message: str
) -> None:
    folder = model(tmp_path)
    (folder / file).parent.mkdir(exist_ok=True)
    (folder / file).write_text("x")
    with pytest.raises(UserError) as refused:
        registry.publish("sentiment", folder, run="job-a")
    assert message in str(refused.value)
    assert list(store.list()) == []


@pytest.mark.parametrize("name", ["", "Sentiment", "a/b", "../a", ".checkpoints", "a_b", "a" * 64])
def test_names_are_dns_labels(registry: ModelRegistry, tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError):
        registry.publish(name, model(tmp_path), run="job-a")


def test_an_empty_folder_is_not_published(registry: ModelRegistry, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError):
        registry.publish("sentiment", tmp_path / "empty", run="job-a")


# Looking


def test_references(registry: ModelRegistry, tmp_path: Path) -> None:
    for text in ("one", "two", "three"):
        registry.publish("sentiment", model(tmp_path, text), run=f"job-{text}")
    registry.set_alias("sentiment", "production", 2)
    for ref, number in [
        ("sentiment", 3),
        ("sentiment@latest", 3),
        ("sentiment@1", 1),
        ("sentiment@production", 2),
    ]:
        assert registry.resolve(ref).version == number


@pytest.mark.parametrize(
    ("ref", "message"),
    [
        ("sentimnet", "did you mean sentiment? it holds sentiment, topics"),
        ("weather", "it holds sentiment, topics"),
        ("sentiment@7", "it has 1"),
        ("sentiment@0", "has no version 0"),
        ("sentiment@prodution", "did you mean production? it has latest, production"),
        ("sentiment@staging", "it has latest, production"),
    ],
)
def test_what_is_not_found_is_told_with_what_is_there(
    registry: ModelRegistry, tmp_path: Path, ref: str, message: str
) -> None:
    registry.publish("sentiment", model(tmp_path), run="job-a")
    registry.publish("topics", model(tmp_path), run="job-a")
    registry.set_alias("sentiment", "production", 1)
    with pytest.raises(NotFound) as missing:
        registry.resolve(ref)
    assert message in str(missing.value)


@pytest.mark.parametrize("ref", ["", "@1", "sentiment@", "a/b", "sentiment@a@b", "Sentiment"])
def test_what_is_no_reference_is_refused(registry: ModelRegistry, ref: str) -> None:
    with pytest.raises(UserError) as refused:
        registry.resolve(ref)
    assert "write name, name@3" in str(refused.value)


def test_an_empty_registry_says_so(registry: ModelRegistry) -> None:
    assert registry.models() == []
    assert registry.aliases("sentiment") == {}
    with pytest.raises(NotFound) as missing:
        registry.resolve("sentiment")
    assert "nothing has been published there yet" in str(missing.value)


def test_only_listed_documents_are_read(registry: ModelRegistry, tmp_path: Path) -> None:
    version = registry.publish("sentiment", model(tmp_path), run="job-a")
    with pytest.raises(NotFound):
        registry.read_json(version, "metrics.json")


# Aliases


def test_aliases_move_and_go(registry: ModelRegistry, tmp_path: Path) -> None:
    for text in ("one", "two"):
        registry.publish("sentiment", model(tmp_path, text), run=f"job-{text}")
    registry.set_alias("sentiment", "production", 1)
    registry.set_alias("sentiment", "production", 2)
    registry.set_alias("sentiment", "backup", 1)
    assert registry.aliases("sentiment") == {"backup": 1, "latest": 2, "production": 2}
    registry.remove_alias("sentiment", "production")
    assert registry.aliases("sentiment") == {"backup": 1, "latest": 2}
    with pytest.raises(NotFound):
        registry.remove_alias("sentiment", "production")


@pytest.mark.parametrize(
    ("alias", "message"),
    [
        ("latest", "moved by publishing only"),
        ("3", "would look like a version"),
        ("Prod", "cannot be an alias"),
        ("a/b", "cannot be an alias"),
    ],
)
def test_what_cannot_be_an_alias(
    registry: ModelRegistry, tmp_path: Path, alias: str, message: str
) -> None:
    registry.publish("sentiment", model(tmp_path), run="job-a")
    for change in (
        lambda: registry.set_alias("sentiment", alias, 1),
        lambda: registry.remove_alias("sentiment", alias),
    ):
        with pytest.raises(UserError) as refused:
            change()
        assert message in str(refused.value)


def test_an_alias_needs_its_version(registry: ModelRegistry, tmp_path: Path) -> None:
    registry.publish("sentiment", model(tmp_path), run="job-a")
    with pytest.raises(NotFound):
        registry.set_alias("sentiment", "production", 2)
    with pytest.raises(NotFound):
        registry.set_alias("weather", "production", 1)
    assert registry.aliases("sentiment") == {"latest": 1}


# Pulling and verifying


def test_pull_brings_everything(registry: ModelRegistry, tmp_path: Path) -> None:
    version = registry.publish("sentiment", model(tmp_path), run="job-a")
    folder = registry.pull(version, tmp_path / "new" / "pulled")
    found = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
    assert found == [
        "LICENSE",
        "config.json",
        "extra/metrics.json",
        "manifest.json",
        "model.safetensors",
        "vocab.txt",
    ]
    assert (folder / "model.safetensors").read_text() == "weights"
    assert [path.name for path in folder.parent.iterdir()] == ["pulled"]
    with pytest.raises(UserError):
        registry.pull(version, folder)
    (tmp_path / "empty").mkdir()
    registry.pull(version, tmp_path / "empty")


def test_pull_of_a_damaged_version_leaves_nothing(
    registry: ModelRegistry, store: ObjectStore, tmp_path: Path
) -> None:
    version = registry.publish("sentiment", model(tmp_path), run="job-a")
    store.put_bytes("sentiment/1/model.safetensors", b"WEIGHTS")
    with pytest.raises(IntegrityError) as damaged:
        registry.pull(version, tmp_path / "pulls" / "pulled")
    assert "sentiment/1/model.safetensors" in str(damaged.value)
    assert list((tmp_path / "pulls").iterdir()) == []


def test_verify_finds_what_is_missing_changed_or_extra(
    registry: ModelRegistry, store: ObjectStore, tmp_path: Path
) -> None:
    version = registry.publish("sentiment", model(tmp_path), run="job-a")
    store.put_bytes("sentiment/1/model.safetensors", b"WEIGHTS")
    store.delete("sentiment/1/vocab.txt")
    store.put_bytes("sentiment/1/evil.py", b"import os")
    found = registry.verify(version)
    assert issues(found) == [
        ("evil.py", "extra"),
        ("model.safetensors", "changed"),
        ("vocab.txt", "missing"),
    ]
    assert str(found[1]) == f"{store.url}/sentiment/1/model.safetensors is changed"


def test_verify_notices_a_manifest_that_was_rewritten_or_removed(
    registry: ModelRegistry, store: ObjectStore, tmp_path: Path
) -> None:
    version = registry.publish("sentiment", model(tmp_path), run="job-a")
    manifest = json.loads(store.get_bytes("sentiment/1/manifest.json"))
    store.put_bytes("sentiment/1/manifest.json", json.dumps(manifest | {"run": "x"}).encode())
    assert issues(registry.verify(version)) == [("manifest.json", "changed")]
    store.delete("sentiment/1/manifest.json")
    assert issues(registry.verify(version)) == [("manifest.json", "missing")]
    with pytest.raises(ObjectNotFound):
        registry.pull(version, tmp_path / "pulled")


def test_promoted_moves_on_and_never_back(registry: ModelRegistry, tmp_path: Path) -> None:
    first = registry.publish("m", model(tmp_path, "a"), run="job-1")
    second = registry.publish("m", model(tmp_path, "b"), run="job-2")
    assert "promoted" not in registry.aliases("m")
    registry.promote(second)
    registry.promote(first)  # a job that was delayed
    registry.promote(second)
    assert registry.aliases("m")["promoted"] == 2
    assert registry.resolve("m@promoted") == second
