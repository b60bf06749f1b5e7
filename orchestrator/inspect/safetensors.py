"""Headers of safetensors files: which tensors a model folder holds, without reading the weights.

The format: 8 bytes little-endian length, that many bytes of JSON (name -> dtype, shape,
data_offsets), then the data. Called by `inspect.model`; what is wrong becomes a Problem at
`model.base`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.errors import InvalidInput, Problem

MODEL_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"
BASE = "model.base"

_MAX_HEADER_BYTES = 100_000_000  # the format's own limit
_LFS_POINTER = b"version https://git-lfs"
_FLOAT_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "F8_E4M3": 1, "F8_E5M2": 1}
_ADAPTER_FILE = "adapter_model.safetensors"
_PICKLES = ("pytorch_model*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")
_OTHER_FORMATS = {"*.gguf": "GGUF", "*.h5": "TensorFlow", "*.msgpack": "Flax", "*.onnx": "ONNX"}


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor as a header names it."""

    name: str
    dtype: str  # the format's spelling: F32, BF16, F16, I64, …
    shape: tuple[int, ...]

    @property
    def num_elements(self) -> int:
        return math.prod(self.shape)

    @property
    def is_parameter(self) -> bool:
        """Buffers of integers (position ids) are stored beside the parameters."""
        return self.dtype in _FLOAT_BYTES

    @property
    def num_bytes(self) -> int:
        return self.num_elements * _FLOAT_BYTES.get(self.dtype, 8)


@dataclass(frozen=True, slots=True)
class Weights:
    """The weights of a model folder: names of the files, and all of their tensors."""

    files: tuple[str, ...]
    tensors: tuple[Tensor, ...]


def read_weights(folder: Path) -> Weights:
    """Reads the headers that `from_pretrained` would load; raises InvalidInput."""
    if (folder / MODEL_FILE).is_file():
        return Weights((MODEL_FILE,), tuple(read_header(folder / MODEL_FILE)))
    if (folder / INDEX_FILE).is_file():
        return _read_shards(folder)
    raise _refused(*_why_no_weights(folder))


def read_header(path: Path) -> list[Tensor]:
    """The tensors of one file; raises InvalidInput where the file cannot be whole."""
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(len(_LFS_POINTER))
        if start == _LFS_POINTER:
            raise _refused(
                f"{path} is a Git LFS pointer, not the weights", "run `git lfs pull` in its folder"
            )
        length = int.from_bytes(start[:8], "little")
        if len(start) < 8 or length > _MAX_HEADER_BYTES or 8 + length > size:
            raise _damaged(path, "it does not begin with a header of its own size")
        file.seek(8)
        text = file.read(length)
    header = _parsed(path, text)
    entries = {name: entry for name, entry in header.items() if name != "__metadata__"}
    try:
        tensors = [
            Tensor(name, str(entry["dtype"]), tuple(int(n) for n in entry["shape"]))
            for name, entry in entries.items()
        ]
        ends = [int(entry["data_offsets"][1]) for entry in entries.values()]
    except (KeyError, TypeError, ValueError, IndexError):
        raise _damaged(path, "its header does not describe tensors") from None
    expected = 8 + length + max(ends, default=0)
    if size != expected:
        kind = "is truncated" if size < expected else "has more bytes than its header tells"
        raise _damaged(path, f"it {kind}: {size:,} bytes, the header says {expected:,}")
    return tensors


def _read_shards(folder: Path) -> Weights:
    index = _parsed(folder / INDEX_FILE, (folder / INDEX_FILE).read_bytes())
    placed = index.get("weight_map")
    if not isinstance(placed, Mapping) or not placed:
        raise _damaged(folder / INDEX_FILE, "it has no `weight_map`")
    files = sorted({str(name) for name in placed.values()})
    absent = [name for name in files if not (folder / name).is_file()]
    if absent:
        more = f" and {len(absent) - 1} more" if len(absent) > 1 else ""
        raise _refused(
            f"{folder} lacks {absent[0]}{more}, which {INDEX_FILE} names",
            "copy or download the whole model",
        )
    tensors = [tensor for name in files for tensor in read_header(folder / name)]
    missing = set(placed) - {tensor.name for tensor in tensors}
    if missing:
        name = min(missing)
        raise _damaged(folder / INDEX_FILE, f"it names a tensor that no file holds: {name}")
    return Weights((INDEX_FILE, *files), tuple(tensors))


def _parsed(path: Path, text: bytes) -> dict[str, Any]:
    try:
        document = json.loads(text)
    except ValueError:
        raise _damaged(path, "its JSON is broken") from None
    if not isinstance(document, dict):
        raise _damaged(path, "its JSON is not an object")
    return document


def _why_no_weights(folder: Path) -> tuple[str, str]:
    if (folder / _ADAPTER_FILE).is_file():
        return (
            f"{folder} holds an adapter, not a whole model",
            "start from one that was published here (models://name@N), or merge it into its base "
            "first (peft: merge_and_unload, then save_pretrained)",
        )
    for pickle in _found(folder, _PICKLES):
        return (
            f"{folder} holds its weights as a pickle only ({pickle.name}), which can run code when "
            "it is loaded, so it is not read",
            'if you trust it, convert it once: python -c "from transformers import AutoModel; '
            f"AutoModel.from_pretrained('{folder}').save_pretrained('{folder}-safe')\", "
            "copy the tokenizer's files there too, and use that folder",
        )
    for pattern, kind in _OTHER_FORMATS.items():
        for found in _found(folder, (pattern,)):
            return (
                f"{folder} holds {kind} weights ({found.name}), not safetensors",
                "choose the model's safetensors edition, or convert it",
            )
    for other in _found(folder, ("*.safetensors",)):
        return (
            f"{folder} holds {other.name}, but no {MODEL_FILE}",
            f"rename it to {MODEL_FILE} if it is the whole model",
        )
    return (
        f"{folder} holds no weights ({MODEL_FILE})",
        "copy or download the whole model, or correct the folder",
    )


def _found(folder: Path, patterns: tuple[str, ...]) -> Iterator[Path]:
    for pattern in patterns:
        yield from sorted(path for path in folder.glob(pattern) if path.is_file())


def _damaged(path: Path, why: str) -> InvalidInput:
    return _refused(f"{path} is damaged: {why}", "copy or download it again")


def _refused(message: str, hint: str) -> InvalidInput:
    return InvalidInput([Problem(message, path=BASE, hint=hint)])
