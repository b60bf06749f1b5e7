"""Predictions are those plain transformers computes, in the order of the texts."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from orchestrator.errors import UserError
from orchestrator.worker.models.export import complete_folder, write_weights
from orchestrator.worker.models.loading import load_model, load_tokenizer
from orchestrator.worker.serving.predict import Predictor
from orchestrator.worker.tasks import task_for
from tests.worker.tiny import launch, write_base

TEXTS = ["the camera is very very very good", "bad", "the movie is awful", "great camera"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = write_base(tmp_path_factory.mktemp("base"))
    published = tmp_path_factory.mktemp("published")
    tokenizer = load_tokenizer(base)
    task = task_for(launch(base, published).spec.spec, base)
    write_weights(load_model(task, base, tokenizer, seed=5), None, published)
    complete_folder(published, tokenizer)
    return published


def test_predictions_equal_plain_transformers(folder: Path) -> None:
    predictor = Predictor.load(folder)
    assert predictor.labels == ("negative", "positive")
    found = predictor.predict(TEXTS, batch_size=2)
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    for text, prediction in zip(TEXTS, found, strict=True):
        with torch.no_grad():
            logits = model(**tokenizer(text, return_tensors="pt")).logits[0]
        expected = logits.softmax(dim=-1)
        assert prediction.probabilities["positive"] == pytest.approx(expected[1].item(), abs=1e-5)
        assert prediction.label == model.config.id2label[int(expected.argmax())]


def test_no_texts_give_no_predictions(folder: Path) -> None:
    assert Predictor.load(folder).predict([]) == []


def test_the_folder_holds_safetensors_and_nothing_of_the_run(folder: Path) -> None:
    names = {path.name for path in folder.iterdir()}
    assert {"model.safetensors", "config.json", "tokenizer.json"} <= names
    assert not {name for name in names if name.endswith((".bin", ".pt", ".pkl"))}
    assert str(folder.parent) not in (folder / "config.json").read_text()


@pytest.mark.parametrize("config", [None, "[]", '{"architectures": ["BertModel"]}', "no JSON"])
def test_what_a_script_made_for_itself_is_refused(config: str | None, tmp_path: Path) -> None:
    if config is not None:
        (tmp_path / "config.json").write_text(config)

    with pytest.raises(UserError, match="no text classifier"):
        Predictor.load(tmp_path)
