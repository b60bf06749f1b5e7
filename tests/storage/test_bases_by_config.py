from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from orchestrator.errors import InvalidInput
from orchestrator.inspect.model import ModelFacts
from orchestrator.specs import FineTuneSpec
from orchestrator.storage import bases_by_config
from orchestrator.storage.bases import Base, BasePlaces
from orchestrator.storage.bases_by_config import base_by_config
from tests.inspect.fake_hub import COMMIT, FakeHub
from tests.inspect.model_folders import write_model
from tests.inspect.published import LLAMA_3_8B
from tests.inspect.test_model import spec as spec_of

PARAMETERS = 8_030_261_248 - 128_256 * 4096  # without the output layer


def spec(base: str, revision: str | None = None, **training: Any) -> FineTuneSpec:
    return spec_of(model={"base": base, "revision": revision}, training=training)


def found(spec: FineTuneSpec, places: BasePlaces) -> tuple[Base, ModelFacts, Path | None]:
    result = base_by_config(spec, places)
    assert result is not None
    return result


@pytest.fixture
def places(tmp_path: Path) -> BasePlaces:
    (tmp_path / "llama").mkdir()
    (tmp_path / "llama/config.json").write_text(json.dumps(LLAMA_3_8B))
    return BasePlaces(tmp_path, tmp_path / "cache", api=FakeHub(tmp_path, LLAMA_3_8B))


@pytest.fixture(autouse=True)
def empty_hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))


def test_a_folder_that_holds_a_config_alone(places: BasePlaces, tmp_path: Path) -> None:
    base, facts, tokenizer = found(spec("llama"), places)

    assert (base.kind, base.path) == ("folder", tmp_path / "llama")
    assert facts.parameters.total == PARAMETERS
    assert tokenizer is None
    (tmp_path / "llama/tokenizer.json").write_text("{}")
    assert found(spec("llama"), places)[2] == tmp_path / "llama/tokenizer.json"


def test_a_model_of_the_hub_that_was_never_downloaded(places: BasePlaces) -> None:
    base, facts, _ = found(spec("hf://org/llama", "main"), places)

    assert (base.kind, base.path, base.pinned.revision) == ("hub", None, COMMIT)
    assert (facts.parameters.total, facts.digest) == (PARAMETERS, COMMIT)


def test_a_config_in_the_hubs_cache(places: BasePlaces, tmp_path: Path) -> None:
    snapshot = tmp_path / "hub/models--org--llama/snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text(json.dumps(LLAMA_3_8B))
    (snapshot / "tokenizer.json").write_text("{}")
    refs = snapshot.parent.parent / "refs"
    refs.mkdir()
    (refs / "main").write_text(COMMIT)
    places.api.fault = AssertionError("the hub is not asked")  # type: ignore[union-attr]
    base, facts, tokenizer = found(spec("hf://org/llama"), places)

    assert base.pinned.revision == facts.digest == COMMIT
    assert tokenizer == snapshot / "tokenizer.json"


def test_what_has_weights_is_left_to_others(places: BasePlaces, tmp_path: Path) -> None:
    write_model(tmp_path / "whole")

    assert base_by_config(spec("whole"), places) is None
    assert base_by_config(spec("nowhere"), places) is None
    assert base_by_config(spec("package://some/model"), places) is None
    assert base_by_config(spec("models://some"), places) is None


def test_a_hub_that_cannot_be_asked(places: BasePlaces) -> None:
    places.api.fault = ConnectionError("away")  # type: ignore[union-attr]

    assert base_by_config(spec("hf://org/llama"), places) is None


def test_what_the_model_cannot_do_is_refused_all_the_same(places: BasePlaces) -> None:
    with pytest.raises(InvalidInput, match="reads at most 8192 tokens"):
        base_by_config(spec("llama", max_length=9000), places)


def test_names_that_the_hub_cannot_have(places: BasePlaces) -> None:
    assert bases_by_config._cached("a/b/c", None, "config.json") is None
