"""A model's config.json in one vocabulary: each family of models spells its sizes differently.

Called by `inspect.model`; never runs or imports what a config names.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.errors import InvalidInput, Problem
from orchestrator.inspect.architectures import PADDED_POSITIONS, RELATIVE_POSITIONS
from orchestrator.inspect.safetensors import BASE

CONFIG_FILE = "config.json"

_HIDDEN = ("hidden_size", "d_model", "n_embd", "dim")
_LAYERS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers", "encoder_layers")
_HEADS = ("num_attention_heads", "n_head", "n_heads", "num_heads", "encoder_attention_heads")
_INTERMEDIATE = ("intermediate_size", "hidden_dim", "encoder_ffn_dim", "ffn_dim", "d_ff", "n_inner")
_POSITIONS = ("max_position_embeddings", "n_positions", "max_seq_len")
_DROPOUTS = ("attention_probs_dropout_prob", "attention_dropout", "attn_pdrop")
_HEAD_SIZE = 64  # of nearly every transformer, where a config does not tell its heads
_FFN_RATIO = 4  # likewise


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """What a config.json says; sizes that it leaves out are None."""

    model_type: str
    architectures: tuple[str, ...]
    hidden_size: int | None
    num_layers: int | None
    num_heads: int | None
    num_kv_heads: int | None
    intermediate_size: int | None
    vocab_size: int | None
    max_positions: int | None  # tokens of the longest text; None: no limit is told
    tied_embeddings: bool
    attention_dropout: float


def read_config(path: Path) -> ModelConfig:
    """Reads and checks a config.json; raises InvalidInput."""
    try:
        text = path.read_bytes()
    except OSError as error:
        message = f"{path} cannot be read: {error.strerror}"
        raise _refused(message, "check its permissions") from None
    try:
        document = json.loads(text)
    except ValueError as error:
        raise _refused(f"{path} is not valid JSON: {error}", "copy or download it again") from None
    return parse_config(document, str(path))


def parse_config(document: Any, shown: str) -> ModelConfig:
    """Checks a config's contents; raises InvalidInput. `shown` is how messages name it."""
    if not isinstance(document, dict):
        raise _refused(f"{shown} is not a model's config: it holds no object", "correct the base")
    if document.get("auto_map"):
        raise _refused(
            f"{shown} names code of its own (auto_map), and code from models is not run",
            "choose an edition of the model that transformers knows by itself",
        )
    if document.get("quantization_config"):
        raise _refused(
            f"{shown} is that of a quantized model, whose weights cannot be trained",
            "choose the model's original weights",
        )
    model_type = document.get("model_type")
    if not isinstance(model_type, str) or not model_type:
        raise _refused(
            f"{shown} names no model_type, so it is unknown which model this is",
            "choose a folder that transformers' save_pretrained has written",
        )
    try:
        return _sizes(model_type, {**document, **_text_part(document)})
    except (TypeError, ValueError) as error:
        raise _refused(f"{shown} is broken: {error}", "copy or download it again") from None


def _text_part(document: Mapping[str, Any]) -> Mapping[str, Any]:
    """Models of several kinds of input keep the sizes of their text model apart."""
    part = document.get("text_config")
    return part if isinstance(part, Mapping) else {}


def _sizes(model_type: str, document: Mapping[str, Any]) -> ModelConfig:
    hidden = _number(document, _HIDDEN)
    heads = _number(document, _HEADS) or (max(1, hidden // _HEAD_SIZE) if hidden else None)
    intermediate = _number(document, _INTERMEDIATE) or (_FFN_RATIO * hidden if hidden else None)
    dropouts = [document[name] for name in _DROPOUTS if document.get(name) is not None]
    return ModelConfig(
        model_type=model_type,
        architectures=tuple(str(name) for name in document.get("architectures") or ()),
        hidden_size=hidden,
        num_layers=_number(document, _LAYERS),
        num_heads=heads,
        num_kv_heads=_number(document, ("num_key_value_heads",)) or heads,
        intermediate_size=intermediate,
        vocab_size=_number(document, ("vocab_size",)),
        max_positions=_positions(model_type, document),
        tied_embeddings=bool(document.get("tie_word_embeddings", True)),
        attention_dropout=float(dropouts[0]) if dropouts else 0.0,
    )


def _positions(model_type: str, document: Mapping[str, Any]) -> int | None:
    if model_type in RELATIVE_POSITIONS or document.get("position_biased_input") is False:
        return None
    positions = _number(document, _POSITIONS)
    if positions is not None and model_type in PADDED_POSITIONS:
        padding = document.get("pad_token_id")
        return positions - (padding if isinstance(padding, int) else 1) - 1
    return positions


def _number(document: Mapping[str, Any], names: tuple[str, ...]) -> int | None:
    for name in names:
        value = document.get(name)
        if value is None:
            continue
        if isinstance(value, list) and value:  # one size a layer: the largest decides what fits
            value = max(value)
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ValueError(f"`{name}` is {value!r}, not a whole number above 0")
        return value
    return None


def _refused(message: str, hint: str) -> InvalidInput:
    return InvalidInput([Problem(message, path=BASE, hint=hint)])
