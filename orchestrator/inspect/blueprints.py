"""The tensors a model consists of, told by its config alone: for planning what is not downloaded.

Each family of architectures is written down once, as names and shapes in transformers' spelling, so
that `inspect.model` sorts them as it sorts a file's. Called by `inspect.model_by_config`; a test
compares every family with the models transformers itself builds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

Shape = tuple[int, ...]
Tensors = Iterator[tuple[str, Shape]]
Config = Mapping[str, Any]

UNTIED = frozenset(
    {
        *("gpt_neox", "granite", "llama", "mistral", "mixtral", "phi3", "qwen2", "qwen2_moe"),
        *("qwen3", "qwen3_moe"),
    }
)
"""Kinds whose output layer is a table of its own unless their config says otherwise."""

_ABOVE_POSITIONS = 2  # rows of BART's table of positions beyond those it tells


def known_kinds() -> tuple[str, ...]:
    return tuple(sorted(_FAMILIES))


def tensors_of(model_type: str, config: Config) -> dict[str, Shape]:
    """Name -> shape of every parameter, the output layer's included where it is untied.

    Raises:
        KeyError: the kind is not known here, or its config lacks a size.
    """
    found = dict(_FAMILIES[model_type](config))
    if not config.get("tie_word_embeddings", model_type not in UNTIED):
        vocabulary, hidden = config["vocab_size"], _hidden(config)
        found["lm_head.weight"] = (vocabulary, hidden)
    return found


def _hidden(config: Config) -> int:
    for name in ("hidden_size", "d_model", "n_embd", "dim"):
        if config.get(name):
            return int(config[name])
    raise KeyError("hidden_size")


# Building stones


def _linear(name: str, rows: int, columns: int, *, bias: bool = True) -> Tensors:
    yield f"{name}.weight", (rows, columns)
    if bias:
        yield f"{name}.bias", (rows,)


def _norm(name: str, size: int, *, bias: bool = True) -> Tensors:
    yield f"{name}.weight", (size,)
    if bias:
        yield f"{name}.bias", (size,)


def _square(names: str, place: str, hidden: int) -> Tensors:
    for name in names.split():
        yield from _linear(f"{place}.{name}", hidden, hidden)


# Encoders


def _bert(config: Config) -> Tensors:
    hidden, inner = config["hidden_size"], config["intermediate_size"]
    yield "embeddings.word_embeddings.weight", (config["vocab_size"], hidden)
    yield "embeddings.position_embeddings.weight", (config["max_position_embeddings"], hidden)
    yield "embeddings.token_type_embeddings.weight", (config.get("type_vocab_size", 2), hidden)
    yield from _norm("embeddings.LayerNorm", hidden)
    for number in range(config["num_hidden_layers"]):
        layer = f"encoder.layer.{number}"
        yield from _square("query key value", f"{layer}.attention.self", hidden)
        yield from _linear(f"{layer}.attention.output.dense", hidden, hidden)
        yield from _norm(f"{layer}.attention.output.LayerNorm", hidden)
        yield from _linear(f"{layer}.intermediate.dense", inner, hidden)
        yield from _linear(f"{layer}.output.dense", hidden, inner)
        yield from _norm(f"{layer}.output.LayerNorm", hidden)
    yield from _linear("pooler.dense", hidden, hidden)


def _distilbert(config: Config) -> Tensors:
    hidden, inner = config["dim"], config["hidden_dim"]
    yield "embeddings.word_embeddings.weight", (config["vocab_size"], hidden)
    yield "embeddings.position_embeddings.weight", (config["max_position_embeddings"], hidden)
    yield from _norm("embeddings.LayerNorm", hidden)
    for number in range(config["n_layers"]):
        layer = f"transformer.layer.{number}"
        yield from _square("q_lin k_lin v_lin out_lin", f"{layer}.attention", hidden)
        yield from _norm(f"{layer}.sa_layer_norm", hidden)
        yield from _linear(f"{layer}.ffn.lin1", inner, hidden)
        yield from _linear(f"{layer}.ffn.lin2", hidden, inner)
        yield from _norm(f"{layer}.output_layer_norm", hidden)


# Decoders


def _gpt2(config: Config) -> Tensors:
    hidden = config["n_embd"]
    inner = config.get("n_inner") or 4 * hidden
    yield "wte.weight", (config["vocab_size"], hidden)
    yield "wpe.weight", (config["n_positions"], hidden)
    for number in range(config["n_layer"]):
        layer = f"h.{number}"
        yield from _norm(f"{layer}.ln_1", hidden)
        yield from _linear(f"{layer}.attn.c_attn", 3 * hidden, hidden)
        yield from _linear(f"{layer}.attn.c_proj", hidden, hidden)
        yield from _norm(f"{layer}.ln_2", hidden)
        yield from _linear(f"{layer}.mlp.c_fc", inner, hidden)
        yield from _linear(f"{layer}.mlp.c_proj", hidden, inner)
    yield from _norm("ln_f", hidden)


def _gpt_neox(config: Config) -> Tensors:
    hidden, inner = config["hidden_size"], config["intermediate_size"]
    biased = config.get("attention_bias", True)
    yield "embed_in.weight", (config["vocab_size"], hidden)
    for number in range(config["num_hidden_layers"]):
        layer = f"layers.{number}"
        yield from _norm(f"{layer}.input_layernorm", hidden)
        yield from _norm(f"{layer}.post_attention_layernorm", hidden)
        yield from _linear(f"{layer}.attention.query_key_value", 3 * hidden, hidden, bias=biased)
        yield from _linear(f"{layer}.attention.dense", hidden, hidden, bias=biased)
        yield from _linear(f"{layer}.mlp.dense_h_to_4h", inner, hidden)
        yield from _linear(f"{layer}.mlp.dense_4h_to_h", hidden, inner)
    yield from _norm("final_layer_norm", hidden)


_NORMS_OF_LAYER = ("input_layernorm", "post_attention_layernorm")
_MORE_NORMS = ("pre_feedforward_layernorm", "post_feedforward_layernorm")


def _decoder(
    *, biased: bool | None = None, query_norm: bool = False, norms: tuple[str, ...] = ()
) -> Callable[[Config], Tensors]:
    """Llama and its kin: rotary positions, grouped queries, a gated feed-forward part.

    Args:
        biased: Whether queries, keys and values have a bias and the output has none; None: as
            `attention_bias` says, for all four.
        query_norm: Whether each head's queries and keys are normalized.
        norms: Those beside the usual two of a layer.
    """

    def tensors(config: Config) -> Tensors:
        hidden = config["hidden_size"]
        yield "embed_tokens.weight", (config["vocab_size"], hidden)
        for number in range(config["num_hidden_layers"]):
            layer = f"layers.{number}"
            yield from _grouped_attention(f"{layer}.self_attn", config, biased)
            if query_norm:
                size = _head_size(config)
                yield from _norm(f"{layer}.self_attn.q_norm", size, bias=False)
                yield from _norm(f"{layer}.self_attn.k_norm", size, bias=False)
            yield from _feed_forward(f"{layer}.mlp", config, number)
            for name in (*_NORMS_OF_LAYER, *norms):
                yield from _norm(f"{layer}.{name}", hidden, bias=False)
        yield from _norm("norm", hidden, bias=False)

    return tensors


def _grouped_attention(place: str, config: Config, biased: bool | None) -> Tensors:
    hidden, heads = config["hidden_size"], config["num_attention_heads"]
    queries = heads * _head_size(config)
    keys = (config.get("num_key_value_heads") or heads) * _head_size(config)
    inputs = bool(config.get("attention_bias", False)) if biased is None else biased
    output = inputs if biased is None else False
    yield from _linear(f"{place}.q_proj", queries, hidden, bias=inputs)
    yield from _linear(f"{place}.k_proj", keys, hidden, bias=inputs)
    yield from _linear(f"{place}.v_proj", keys, hidden, bias=inputs)
    yield from _linear(f"{place}.o_proj", hidden, queries, bias=output)


def _head_size(config: Config) -> int:
    return int(config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"])


def _feed_forward(place: str, config: Config, number: int) -> Tensors:
    """Gated: one part, or as many as there are experts and a router that picks among them."""
    experts = config.get("num_local_experts") or config.get("num_experts")
    step = config.get("decoder_sparse_step") or 1
    dense = number in (config.get("mlp_only_layers") or ()) or (number + 1) % step
    if not experts or dense:
        yield from _gated(place, config["intermediate_size"], config)
        return
    yield f"{place}.gate.weight", (experts, config["hidden_size"])
    inner = config.get("moe_intermediate_size") or config["intermediate_size"]
    for expert in range(experts):
        yield from _gated(f"{place}.experts.{expert}", inner, config)
    if shared := config.get("shared_expert_intermediate_size"):
        yield from _gated(f"{place}.shared_expert", shared, config)
        yield f"{place}.shared_expert_gate.weight", (1, config["hidden_size"])


def _gated(place: str, inner: int, config: Config) -> Tensors:
    hidden, bias = config["hidden_size"], bool(config.get("mlp_bias", False))
    yield from _linear(f"{place}.gate_proj", inner, hidden, bias=bias)
    yield from _linear(f"{place}.up_proj", inner, hidden, bias=bias)
    yield from _linear(f"{place}.down_proj", hidden, inner, bias=bias)


# Encoders with decoders


def _t5(*, bias_in_each_layer: bool = False, gated: bool = False) -> Callable[[Config], Tensors]:
    def tensors(config: Config) -> Tensors:
        hidden, inner = config["d_model"], config["num_heads"] * config["d_kv"]
        table = (config.get("relative_attention_num_buckets", 32), config["num_heads"])
        is_gated = str(config.get("feed_forward_proj", "gated-" if gated else "relu"))
        decoders = config.get("num_decoder_layers") or config["num_layers"]
        yield "shared.weight", (config["vocab_size"], hidden)
        for stack, layers in (("encoder", config["num_layers"]), ("decoder", decoders)):
            for number in range(layers):
                parts = ["SelfAttention", "EncDecAttention"][: 1 + (stack == "decoder")]
                for at, part in enumerate(parts):
                    place = f"{stack}.block.{number}.layer.{at}"
                    yield from _t5_attention(f"{place}.{part}", hidden, inner)
                    yield f"{place}.layer_norm.weight", (hidden,)
                if number == 0 or bias_in_each_layer:
                    name = f"{stack}.block.{number}.layer.0.SelfAttention.relative_attention_bias"
                    yield f"{name}.weight", table
                place = f"{stack}.block.{number}.layer.{len(parts)}"
                matrices = "wi_0 wi_1" if is_gated.startswith("gated-") else "wi"
                for name in matrices.split():
                    yield f"{place}.DenseReluDense.{name}.weight", (config["d_ff"], hidden)
                yield f"{place}.DenseReluDense.wo.weight", (hidden, config["d_ff"])
                yield f"{place}.layer_norm.weight", (hidden,)
            yield f"{stack}.final_layer_norm.weight", (hidden,)

    return tensors


def _t5_attention(place: str, hidden: int, inner: int) -> Tensors:
    for name in ("q", "k", "v"):
        yield f"{place}.{name}.weight", (inner, hidden)
    yield f"{place}.o.weight", (hidden, inner)


def _bart(
    *, more_positions: int = 0, norm_embedding: bool = False, last_norm: bool = False
) -> Callable[[Config], Tensors]:
    def tensors(config: Config) -> Tensors:
        hidden = config["d_model"]
        yield "shared.weight", (config["vocab_size"], hidden)
        for stack in ("encoder", "decoder"):
            positions = config["max_position_embeddings"] + more_positions
            yield f"{stack}.embed_positions.weight", (positions, hidden)
            if norm_embedding:
                yield from _norm(f"{stack}.layernorm_embedding", hidden)
            for number in range(config[f"{stack}_layers"]):
                place, inner = f"{stack}.layers.{number}", config[f"{stack}_ffn_dim"]
                for part in ("self_attn", "encoder_attn")[: 1 + (stack == "decoder")]:
                    yield from _square("k_proj v_proj q_proj out_proj", f"{place}.{part}", hidden)
                    yield from _norm(f"{place}.{part}_layer_norm", hidden)
                yield from _linear(f"{place}.fc1", inner, hidden)
                yield from _linear(f"{place}.fc2", hidden, inner)
                yield from _norm(f"{place}.final_layer_norm", hidden)
            if last_norm:
                yield from _norm(f"{stack}.layer_norm", hidden)

    return tensors


_FAMILIES: Mapping[str, Callable[[Config], Tensors]] = {
    "bart": _bart(more_positions=_ABOVE_POSITIONS, norm_embedding=True),
    "bert": _bert,
    "camembert": _bert,
    "distilbert": _distilbert,
    "gemma": _decoder(),
    "gemma2": _decoder(norms=_MORE_NORMS),
    "gemma3_text": _decoder(query_norm=True, norms=_MORE_NORMS),
    "gpt2": _gpt2,
    "gpt_neox": _gpt_neox,
    "granite": _decoder(),
    "llama": _decoder(),
    "marian": _bart(),
    "mbart": _bart(more_positions=_ABOVE_POSITIONS, norm_embedding=True, last_norm=True),
    "mistral": _decoder(biased=False),
    "mixtral": _decoder(biased=False),
    "mt5": _t5(gated=True),
    "pegasus": _bart(last_norm=True),
    "phi3": _decoder(biased=False),
    "qwen2": _decoder(biased=True),
    "qwen2_moe": _decoder(biased=True),
    "qwen3": _decoder(query_norm=True),
    "qwen3_moe": _decoder(query_norm=True),
    "roberta": _bert,
    "smollm3": _decoder(),
    "t5": _t5(),
    "umt5": _t5(bias_in_each_layer=True, gated=True),
    "xlm-roberta": _bert,
}
