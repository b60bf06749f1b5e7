"""Label sets, numbers and pairs: what is encoded, learned, and loaded by plain transformers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from transformers import AutoModelForSequenceClassification, pipeline
from transformers.modeling_outputs import SequenceClassifierOutput

from orchestrator.specs import TextClassification
from orchestrator.worker.data.batches import IGNORED, PADDING
from orchestrator.worker.models.export import complete_folder, write_weights
from orchestrator.worker.models.loading import load_model, load_tokenizer
from orchestrator.worker.serving.predict import NumberPrediction, Predictor, SetPrediction
from orchestrator.worker.tasks.text_classification import TextClassificationTask
from tests.worker.tiny import write_base

LABELS = ("camera", "good", "movie")


def task_of(max_length: int = 16, **fields: Any) -> TextClassificationTask:
    spec = TextClassification.model_validate({"type": "text-classification", **fields})
    return TextClassificationTask(spec, max_length)


def sets() -> TextClassificationTask:
    return task_of(problem="multi_label", labels=LABELS)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_base(tmp_path_factory.mktemp("base"))


def table(labels: list[str], **texts: list[str]) -> pa.Table:
    return pa.table({**texts, "label": labels})


def outputs(logits: list[list[float]]) -> SequenceClassifierOutput:
    return SequenceClassifierOutput(logits=torch.tensor(logits))


def test_the_loss_of_sets_is_plain_transformers(base: Path) -> None:
    task, tokenizer = sets(), load_tokenizer(base)
    model = load_model(task, base, tokenizer, seed=1).eval()
    rows = table(['["camera", "good"]', "[]"], text=["the camera is good", "the movie"])
    encoded = task.encode(rows, tokenizer)
    assert encoded.targets.tolist() == [[1.0, 1.0, 0.0], [0.0, 0.0, 0.0]]
    batch = task.collate([encoded[0], encoded[1], encoded[PADDING]], tokenizer)
    labels = batch.pop("labels")
    assert labels[2].tolist() == [IGNORED] * 3
    found = task.loss_sum(model(**batch), labels) / (labels != IGNORED).sum()
    alone = task.collate([encoded[0], encoded[1]], tokenizer)
    assert found.item() == pytest.approx(model(**alone).loss.item(), rel=1e-5)


def test_the_loss_of_numbers_is_plain_transformers(base: Path) -> None:
    task, tokenizer = task_of(problem="regression"), load_tokenizer(base)
    model = load_model(task, base, tokenizer, seed=1).eval()
    encoded = task.encode(table(["0.5", "-3.0"], text=["good", "bad camera"]), tokenizer)
    batch = task.collate([encoded[0], encoded[PADDING], encoded[1]], tokenizer)
    labels = batch.pop("labels")
    found = task.loss_sum(model(**batch), labels) / (labels != IGNORED).sum()
    alone = task.collate([encoded[0], encoded[1]], tokenizer)
    assert found.item() == pytest.approx(model(**alone).loss.item(), rel=1e-5)


def test_no_number_is_taken_for_padding() -> None:
    targets = task_of(problem="regression").answers.targets(["-100.0", "2.0"])
    assert (targets != IGNORED).all()
    assert targets[0] == pytest.approx(-100.0)
    loss = task_of(problem="regression").loss_sum(outputs([[-99.0], [2.0]]), torch.tensor(targets))
    assert loss.item() == pytest.approx(1.0, rel=1e-4)


def test_something_of_both_texts_is_kept(base: Path) -> None:
    task = task_of(10, pairs=True, labels=["a", "b"])
    tokenizer = load_tokenizer(base)
    long = " ".join(["very"] * 30)
    rows = table(["a", "b"], text=["good camera", long], text_pair=[long, "bad"])
    encoded = task.encode(rows, tokenizer)
    words = [tokenizer.convert_ids_to_tokens(ids) for ids in encoded.token_ids]
    assert [len(ids) for ids in words] == [10, 10]
    assert words[0][:4] == ["[CLS]", "good", "camera", "[SEP]"]
    assert words[1][-3:] == ["[SEP]", "bad", "[SEP]"]
    assert encoded.segments is not None
    assert encoded.segments[1] == [0] * 8 + [1] * 2
    batch = task.collate([encoded[0], encoded[PADDING]], tokenizer)
    assert batch["token_type_ids"].tolist() == [[0] * 4 + [1] * 6, [0] * 10]


@pytest.fixture(scope="module")
def published(base: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    tokenizer, folders = load_tokenizer(base), {}
    for name, task in (("sets", sets()), ("numbers", task_of(problem="regression", pairs=True))):
        folders[name] = tmp_path_factory.mktemp(name)
        write_weights(load_model(task, base, tokenizer, seed=5), None, folders[name])
        complete_folder(folders[name], tokenizer)
    return folders


def test_plain_transformers_knows_what_a_head_gives(published: dict[str, Path]) -> None:
    model = AutoModelForSequenceClassification.from_pretrained(published["sets"])
    assert model.config.problem_type == "multi_label_classification"
    assert model.config.id2label == dict(enumerate(LABELS))
    classify = pipeline("text-classification", str(published["sets"]), top_k=None)
    theirs = {found["label"]: found["score"] for found in classify(["the camera is good"])[0]}
    (ours,) = Predictor.load(published["sets"], threshold=0.5).predict(["the camera is good"])
    assert isinstance(ours, SetPrediction)
    assert ours.probabilities == pytest.approx(theirs, abs=1e-6)
    assert set(ours.labels) == {name for name, chance in theirs.items() if chance >= 0.5}


def test_numbers_of_pairs_are_plain_transformers(published: dict[str, Path]) -> None:
    folder = published["numbers"]
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    assert (model.config.problem_type, model.config.num_labels) == ("regression", 1)
    tokenizer = load_tokenizer(folder)
    pairs = [("good camera", "the movie is bad"), ("bad", "good"), ("very very good", "fine")]
    found = Predictor.load(folder).predict(pairs, batch_size=2)
    for (text, other), prediction in zip(pairs, found, strict=True):
        with torch.no_grad():
            expected = model(**tokenizer(text, other, return_tensors="pt")).logits.item()
        assert isinstance(prediction, NumberPrediction)
        assert prediction.fields() == {"predicted_value": pytest.approx(expected, abs=1e-5)}


def test_each_problem_is_a_recipe_of_its_own() -> None:
    versions = {
        task.version
        for task in (
            task_of(labels=LABELS),
            sets(),
            task_of(problem="regression"),
            task_of(labels=LABELS, pairs=True),
        )
    }
    assert len(versions) == 4
    assert task_of(labels=LABELS).version == "text-classification/1"
    assert np.array_equal(sets().probabilities(np.zeros((1, 3))), np.full((1, 3), 0.5))
