"""A published adapter is PEFT's: plain PEFT loads it, merged weights are plain transformers'."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import AutoPeftModelForSequenceClassification, PeftModel
from transformers import AutoModelForSequenceClassification

from orchestrator.errors import IntegrityError, InvalidInput
from orchestrator.inspect.model import inspect_model
from orchestrator.specs import FreezeMethod, FullMethod, LoraMethod, ModelSpec
from orchestrator.storage.adapters import Origin
from orchestrator.storage.bases import (
    Base,
    BasePlaces,
    base_tokenizer,
    describe_base,
    fetch_base,
    resolve_base,
    whole_base,
)
from orchestrator.storage.objectstore import open_store
from orchestrator.storage.registry import ModelRegistry
from orchestrator.worker.models.adapters import load_trained, merge_in_place, write_adapter
from orchestrator.worker.models.export import complete_folder
from orchestrator.worker.models.loading import load_model, load_tokenizer
from orchestrator.worker.models.start import Start
from orchestrator.worker.serving.predict import Predictor
from orchestrator.worker.tasks import task_for
from orchestrator.worker.tasks.base import Task
from orchestrator.worker.training.methods import apply_method
from tests.worker.tiny import launch, write_base

INPUTS = {"input_ids": torch.tensor([[2, 10, 11, 4, 3], [2, 10, 12, 7, 3]])}
LABELS = ("awful", "fine", "great")


@pytest.fixture(scope="module")
def task() -> Task:
    task = {"type": "text-classification", "labels": list(LABELS)}
    return task_for(launch(Path("/base"), Path("/scratch"), task=task).spec.spec, Path("/base"))


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Start:
    base = write_base(tmp_path_factory.mktemp("base"))
    return Start(base, Origin(str(base), None, inspect_model(base).digest))


def lora(**fields: Any) -> LoraMethod:
    resolved: dict[str, Any] = {
        "rank": 4,
        "alpha": 8.0,
        "dropout": 0.1,
        "target_modules": ("query", "output.dense"),
        "use_dora": False,
        "use_rslora": False,
    }
    return LoraMethod(type="lora", **{**resolved, **fields})


def trained(task: Task, start: Start, method: LoraMethod) -> PeftModel:
    """As if it had learned: every weight that learns is another one."""
    model = load_model(task, start.base, load_tokenizer(start.base), seed=1)
    adapted = apply_method(method, model, start, seed=1)
    assert isinstance(adapted, PeftModel)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in adapted.parameters():
            if parameter.requires_grad:
                parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
    return adapted.eval()


def published(folder: Path, model: PeftModel, start: Start) -> Path:
    """The folder as it is published, with as much of its lineage as is read again."""
    write_adapter(model, None, folder, start.origin)
    complete_folder(folder, load_tokenizer(start.base))
    spec = {"spec": {"task": {"type": "text-classification", "labels": list(LABELS)}}}
    lineage = {"adapter_of": start.origin.document(), "spec": {"resolved": spec}}
    (folder / "lineage.json").write_text(json.dumps(lineage))
    return folder


def logits(model: torch.nn.Module) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model.eval()(**INPUTS).logits
    return found


@pytest.mark.parametrize("method", [lora(), lora(use_dora=True, use_rslora=True)])
def test_plain_peft_loads_what_is_published(
    task: Task, start: Start, tmp_path: Path, method: LoraMethod
) -> None:
    model = trained(task, start, method)
    folder = published(tmp_path / "adapter", model, start)
    expected = logits(model)
    base = AutoModelForSequenceClassification.from_pretrained(start.base, num_labels=3)
    torch.testing.assert_close(logits(PeftModel.from_pretrained(base, folder)), expected)
    auto = AutoPeftModelForSequenceClassification.from_pretrained(folder, num_labels=3)
    torch.testing.assert_close(logits(auto), expected)
    torch.testing.assert_close(logits(load_trained(task, folder, start, method)), expected)


def test_an_adapter_holds_what_learned_and_names_its_base(
    task: Task, start: Start, tmp_path: Path
) -> None:
    folder = published(tmp_path / "adapter", trained(task, start, lora()), start)
    config = json.loads((folder / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == str(start.base)
    assert config["auto_mapping"]["base_model_digest"] == start.origin.digest
    assert config["modules_to_save"] == ["classifier"]
    assert config["target_modules"] == ["output.dense", "query"]
    assert config["task_type"] == "SEQ_CLS"
    # Far less than the base, whose weights are not in it.
    size = (folder / "adapter_model.safetensors").stat().st_size
    assert size < (start.base / "model.safetensors").stat().st_size / 4


def test_a_hub_model_is_named_as_the_hub_does() -> None:
    assert Origin("hf://org/base", "abc", "abc").loadable == "org/base"
    assert Origin("package://pkg/model", None, "d").loadable == "package://pkg/model"


@pytest.mark.parametrize("method", [lora(), lora(use_dora=True)])
def test_merged_weights_are_a_plain_model(
    task: Task, start: Start, tmp_path: Path, method: LoraMethod
) -> None:
    model = trained(task, start, method)
    expected = logits(model)
    write_adapter(model, None, tmp_path, start.origin)
    merge_in_place(task, tmp_path, start)
    assert not list(tmp_path.glob("adapter*"))
    whole = AutoModelForSequenceClassification.from_pretrained(tmp_path)
    assert tuple(whole.config.id2label.values()) == LABELS
    torch.testing.assert_close(logits(whole), expected, rtol=1e-4, atol=1e-5)


def test_predict_loads_an_adapter_beside_its_base(
    task: Task, start: Start, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = trained(task, start, lora())
    folder = published(tmp_path / "adapter", model, start)
    caplog.clear()
    predictor = Predictor.load(folder, base=start.base)
    assert caplog.messages == []  # that the base has no head is nothing to worry about
    assert predictor.labels == LABELS
    (found,) = predictor.predict(["the camera is good"])
    inputs = load_tokenizer(start.base)("the camera is good", return_tensors="pt")
    inputs.pop("token_type_ids", None)
    with torch.no_grad():
        expected = model(**inputs).logits.softmax(dim=-1)[0]
    assert list(found.probabilities.values()) == pytest.approx(expected.tolist(), abs=1e-5)


# Going on with a published adapter


@pytest.fixture
def places(tmp_path: Path) -> BasePlaces:
    return BasePlaces(tmp_path, tmp_path / "cache", open_store(str(tmp_path / "store")))


@pytest.fixture
def adapter(task: Task, start: Start, tmp_path: Path, places: BasePlaces) -> Base:
    folder = published(tmp_path / "adapter", trained(task, start, lora()), start)
    assert places.store is not None
    ModelRegistry(places.store).publish("reviews", folder, run="job-1")
    return resolve_base(ModelSpec(base="models://reviews"), places)


def test_an_adapter_as_a_base_brings_its_own(adapter: Base, start: Start) -> None:
    assert adapter.pinned.base == "models://reviews@1"
    assert fetch_base(adapter.whole) == start.base
    facts = describe_base(adapter)
    assert facts.adapter is not None
    assert (facts.adapter.rank, facts.adapter.alpha) == (4, 8.0)
    assert facts.num_layers == 2
    assert facts.digest != start.origin.digest  # another start is another run
    tokenizer = base_tokenizer(adapter)
    assert tokenizer is not None
    assert tokenizer.parent == fetch_base(adapter)


def going_on(adapter: Base, start: Start) -> Start:
    return Start(start.base, start.origin, fetch_base(adapter))


@pytest.mark.parametrize(
    "method",
    [lora(), FullMethod(type="full"), FreezeMethod(type="freeze", all_layers=True)],
    ids=lambda method: str(method.type),
)
def test_training_goes_on_where_the_adapter_ended(
    task: Task, start: Start, adapter: Base, method: LoraMethod | FullMethod | FreezeMethod
) -> None:
    """The method lora trains the adapter further; others train weights it was added to."""
    expected = logits(trained(task, start, lora()))
    model = load_model(task, start.base, load_tokenizer(start.base), seed=9)
    gone_on = apply_method(method, model, going_on(adapter, start), seed=9)
    torch.testing.assert_close(logits(gone_on), expected, rtol=1e-4, atol=1e-5)
    learning = [name for name, p in gone_on.named_parameters() if p.requires_grad]
    assert isinstance(gone_on, PeftModel) == isinstance(method, LoraMethod)
    assert all("lora" in name or "classifier" in name for name in learning) == (
        not isinstance(method, FullMethod)
    )


def test_another_number_of_labels_takes_a_new_head(start: Start, adapter: Base) -> None:
    two = task_for(launch(start.base, start.base).spec.spec, start.base)
    for method in (lora(), FullMethod(type="full")):
        model = load_model(two, start.base, load_tokenizer(start.base), seed=9)
        gone_on = apply_method(method, model, going_on(adapter, start), seed=9)
        assert logits(gone_on).shape == (2, 2)


def test_another_base_of_that_name_is_refused(
    task: Task, start: Start, tmp_path: Path, places: BasePlaces
) -> None:
    moved = Origin(start.origin.name, None, "0" * 64)
    with pytest.raises(IntegrityError, match="is not the base this adapter was trained on"):
        whole_base(tmp_path, moved, places)


def test_an_adapter_leads_nowhere_its_team_may_not_read(
    start: Start, tmp_path: Path, places: BasePlaces
) -> None:
    closed = BasePlaces(places.base_dir, places.cache_dir, places.store, may_read=lambda _: False)
    with pytest.raises(InvalidInput, match="may not be read from here"):
        whole_base(tmp_path, start.origin, closed)


def test_an_adapter_of_other_making_is_no_base(
    task: Task, start: Start, tmp_path: Path, places: BasePlaces
) -> None:
    folder = published(tmp_path / "adapter", trained(task, start, lora()), start)
    (folder / "lineage.json").unlink()
    assert places.store is not None
    ModelRegistry(places.store).publish("foreign", folder, run="job-2")
    with pytest.raises(InvalidInput, match="holds an adapter, not a whole model"):
        describe_base(resolve_base(ModelSpec(base="models://foreign"), places))
