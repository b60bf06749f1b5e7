"""A spec whose model has no weights yet, looked at before anything starts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from orchestrator.control.controller.look import look
from orchestrator.errors import InvalidInput
from orchestrator.settings import load_settings

SPEC = """
apiVersion: finetune.orchestrator/v1alpha1
kind: FineTune
metadata: {name: from-nothing}
spec:
  model:
    fresh: {architecture: t5, hidden_size: 32, layers: 2, heads: 2, vocabulary_size: 600}
  task: {type: denoising}
  data:
    domains:
      notes:
        train: [{path: train.jsonl}]
        valid: [{path: valid.jsonl}]
        test: [{path: test.jsonl}]
  method: {type: pretrain}
  training: {max_length: 16, max_steps: 4, warmup_steps: 1}
"""


@pytest.fixture
def job(tmp_path: Path) -> Path:
    for split, rows in (("train", 40), ("valid", 10), ("test", 10)):
        lines = [{"text": f"{split}: a note of number {n} that is kept"} for n in range(rows)]
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (tmp_path / f"{split}.jsonl").write_text(text)
    (tmp_path / "job.yaml").write_text(SPEC)
    return tmp_path / "job.yaml"


def settings_in(folder: Path) -> dict[str, str]:
    return {
        "ORCHESTRATOR_CACHE_DIR": str(folder / "cache"),
        "ORCHESTRATOR_STATE_DIR": str(folder / "state"),
        "ORCHESTRATOR_STORE": str(folder / "store"),
    }


def test_the_plan_knows_what_will_be_made(
    job: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in settings_in(tmp_path).items():
        monkeypatch.setenv(name, value)
    found = look(job, [], load_settings(), probe_store=False)
    assert found.plan.fits
    assert found.plan.model is not None
    assert found.plan.trainable_parameters == found.plan.model.parameters.total
    assert found.plan.steps.tokens_measured
    body = found.plan.spec.spec
    assert body.model == found.loaded.spec.spec.model
    assert body.task.objective == "spans"  # type: ignore[union-attr]
    assert found.base is not None
    assert found.base.path is not None
    assert found.plan.identity.base == found.plan.model.digest
    again = look(job, [], load_settings(), probe_store=False)
    assert again.base == found.base
    larger = look(job, ["model.fresh.layers=3"], load_settings(), probe_store=False)
    assert larger.plan.identity.run != found.plan.identity.run


def test_wrong_data_are_told_and_no_tokenizer_is_made_of_them(
    job: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in settings_in(tmp_path).items():
        monkeypatch.setenv(name, value)
    (tmp_path / "train.jsonl").unlink()
    with pytest.raises(InvalidInput) as caught:
        look(job, [], load_settings(), probe_store=False)
    assert [problem.path for problem in caught.value.problems] == [
        "data.domains.notes.train[0].path"
    ]
    assert not (tmp_path / "cache" / "fresh").exists()


def test_a_base_and_a_fresh_model_exclude_each_other(job: Path) -> None:
    text = job.read_text().replace("  model:\n", "  model:\n    base: hf://org/name\n")
    job.write_text(text)
    with pytest.raises(InvalidInput) as caught:
        look(job, [], load_settings(), probe_store=False)
    assert "give either `base` or `fresh`" in caught.value.problems[0].message


def test_heads_divide_the_hidden_size(job: Path) -> None:
    job.write_text(job.read_text().replace("heads: 2", "heads: 5"))
    with pytest.raises(InvalidInput) as caught:
        look(job, [], load_settings(), probe_store=False)
    (problem,) = caught.value.problems
    assert (problem.path, problem.message) == (
        "model.fresh.heads",
        "5 heads do not divide a hidden size of 32",
    )
