"""Model folders written byte by byte: a test of headers must not trust the library they feed."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

SIZES = {"F32": 4, "BF16": 2, "F16": 2, "I64": 8}

Shapes = Mapping[str, tuple[str, tuple[int, ...]]]

# hidden 8, feed-forward 16, 2 layers, vocabulary 20, 12 positions
TINY_CONFIG: dict[str, Any] = {
    "architectures": ["BertModel"],
    "model_type": "bert",
    "hidden_size": 8,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "vocab_size": 20,
    "max_position_embeddings": 12,
    "attention_probs_dropout_prob": 0.1,
}
TINY_TENSORS: Shapes = {
    "embeddings.word_embeddings.weight": ("F32", (20, 8)),
    "embeddings.position_embeddings.weight": ("F32", (12, 8)),
    "embeddings.position_ids": ("I64", (1, 12)),  # a buffer, not a parameter
    "encoder.layer.0.attention.self.query.weight": ("F32", (8, 8)),
    "encoder.layer.0.output.dense.weight": ("F32", (8, 16)),
    "encoder.layer.1.attention.self.query.weight": ("F32", (8, 8)),
    "encoder.layer.1.output.dense.weight": ("F32", (8, 16)),
    "pooler.dense.weight": ("F32", (8, 8)),
    "cls.predictions.bias": ("F32", (10,)),  # the head of its pretraining
}


def write_safetensors(path: Path, shapes: Shapes, *, missing_bytes: int = 0) -> None:
    """A file of zeros; `missing_bytes` cuts its end off."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, (dtype, shape) in shapes.items():
        start, end = end, end + SIZES[dtype] * math.prod(shape)
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    content = len(text).to_bytes(8, "little") + text + bytes(end)
    path.write_bytes(content[: len(content) - missing_bytes])


def write_model(folder: Path, **config: Any) -> Path:
    """A whole, tiny model; keyword arguments replace fields of its config, None removes one."""
    folder.mkdir(parents=True, exist_ok=True)
    document = {name: v for name, v in {**TINY_CONFIG, **config}.items() if v is not None}
    (folder / "config.json").write_text(json.dumps(document))
    (folder / "tokenizer.json").write_text("{}")
    write_safetensors(folder / "model.safetensors", TINY_TENSORS)
    return folder
