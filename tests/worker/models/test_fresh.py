"""Random weights for bases that have none, on every node the same."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from transformers import (
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoModelForSeq2SeqLM,
    PreTrainedModel,
)

from orchestrator.errors import IntegrityError
from orchestrator.inspect.fresh import fresh_facts, fresh_folder
from orchestrator.records import Launch
from orchestrator.specs.model import FreshModel
from orchestrator.worker.data.splits import load_tables
from orchestrator.worker.folders import find_start
from orchestrator.worker.models.loading import load_tokenizer
from tests.worker.tiny import launch, texts

KINDS: dict[str, Any] = {
    **dict.fromkeys(("t5", "marian", "bart"), AutoModelForSeq2SeqLM),
    "llama": AutoModelForCausalLM,
    "bert": AutoModelForMaskedLM,
}
TASKS = {"llama": "causal-lm", "bert": "masked-lm"}


def order(folder: Path, architecture: str, **training: Any) -> Launch:
    """As planned: the identity names the config and tokenizer that the plan made."""
    file = folder / "train.jsonl"
    rows = texts(60)["text"]
    file.write_text(
        "".join(json.dumps({"text": f"{text} number {n}"}) + "\n" for n, text in enumerate(rows))
    )
    sizes = {"hidden_size": 32, "layers": 2, "heads": 2, "vocabulary_size": 600}
    domain = {split: [{"path": str(file)}] for split in ("train", "valid", "test")}
    job = launch(
        folder,
        folder,
        model={"fresh": {"architecture": architecture, **sizes}},
        task={"type": TASKS.get(architecture, "denoising")},
        method={"type": "pretrain"},
        data={"domains": {"toy": domain}, "train_on": ["toy"]},
        training={"max_length": 16, **training},
        selection={"metric": "toy/loss", "mode": "min"},
        evaluation={},
    )
    body = job.spec.spec
    assert body.model is not None
    fresh = body.model.fresh
    assert isinstance(fresh, FreshModel)
    made = fresh_folder(fresh, body.data, load_tables(body, folder), folder / "of the plan")
    identity = job.identity.model_copy(update={"base": fresh_facts(fresh, made).digest})
    return job.model_copy(update={"base_path": None, "identity": identity})


def weights(folder: Path) -> str:
    return hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()


@pytest.mark.parametrize("architecture", KINDS)
def test_it_is_a_base_like_any_other(architecture: str, tmp_path: Path) -> None:
    job = order(tmp_path, architecture)
    start = find_start(job, tmp_path / "node", verify=True)
    model: PreTrainedModel = KINDS[architecture].from_pretrained(start.base)
    body = job.spec.spec
    assert body.model is not None
    assert body.model.fresh is not None
    facts = fresh_facts(body.model.fresh, tmp_path / "of the plan" / "fresh" / made_in(tmp_path))
    head = facts.new_masked_head_parameters if architecture == "bert" else 0
    pooler = 32 * 33 if architecture == "bert" else 0  # finding hidden tokens needs none
    assert sum(p.numel() for p in model.parameters()) == facts.parameters.total + head - pooler
    tokenizer = load_tokenizer(start.base)
    assert len(tokenizer) == model.config.vocab_size
    text = "the camera number 7"
    ids = tokenizer(text)["input_ids"]
    assert tokenizer.decode(ids, skip_special_tokens=True) == text


def made_in(folder: Path) -> str:
    (found,) = (folder / "of the plan" / "fresh").iterdir()
    return found.name


def test_other_nodes_make_the_same_and_another_seed_does_not(tmp_path: Path) -> None:
    job = order(tmp_path, "t5")
    one = find_start(job, tmp_path / "one", verify=True)
    same_host = job.model_copy(
        update={"base_path": str(tmp_path / "of the plan" / "fresh" / made_in(tmp_path))}
    )
    other = find_start(same_host, tmp_path / "other", verify=False)
    assert weights(one.base) == weights(other.base)
    assert find_start(job, tmp_path / "one", verify=True).base == one.base
    seeded = order(tmp_path, "t5", seed=9)
    assert weights(find_start(seeded, tmp_path / "one", verify=True).base) != weights(one.base)


def test_another_tokenizer_than_the_planned_one_is_refused(tmp_path: Path) -> None:
    job = order(tmp_path, "t5")
    planned = job.identity.model_copy(update={"base": "f" * 64})
    with pytest.raises(IntegrityError, match="not the one this job was planned with"):
        find_start(job.model_copy(update={"identity": planned}), tmp_path / "node", verify=True)
