from __future__ import annotations

import json
from pathlib import Path

import pytest

from orchestrator.errors import InvalidInput
from orchestrator.inspect.safetensors import Tensor, read_header, read_weights
from tests.inspect.model_folders import write_safetensors


def test_header_lists_tensors(tmp_path: Path) -> None:
    write_safetensors(tmp_path / "a", {"x": ("F32", (2, 3)), "ids": ("I64", (4,))})

    assert read_header(tmp_path / "a") == [
        Tensor("x", "F32", (2, 3)),
        Tensor("ids", "I64", (4,)),
    ]


def test_only_floats_are_parameters() -> None:
    assert Tensor("x", "BF16", (2, 3)).is_parameter
    assert Tensor("x", "BF16", (2, 3)).num_bytes == 12
    assert not Tensor("ids", "I64", (4,)).is_parameter


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "does not begin with a header"),
        (b"\x00\x00", "does not begin with a header"),
        ((10**9).to_bytes(8, "little") + b"{}", "does not begin with a header"),
        ((2).to_bytes(8, "little") + b"{]", "its JSON is broken"),
        ((2).to_bytes(8, "little") + b"[]", "its JSON is not an object"),
        ((9).to_bytes(8, "little") + b'{"x": {}}', "does not describe tensors"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "Git LFS pointer"),
    ],
)
def test_damaged_files(tmp_path: Path, content: bytes, told: str) -> None:
    (tmp_path / "model.safetensors").write_bytes(content)

    with pytest.raises(InvalidInput, match=told) as caught:
        read_weights(tmp_path)
    assert caught.value.problems[0].path == "model.base"
    assert caught.value.problems[0].hint


def test_truncated_file_tells_both_sizes(tmp_path: Path) -> None:
    write_safetensors(tmp_path / "model.safetensors", {"x": ("F32", (25,))}, missing_bytes=40)
    size = (tmp_path / "model.safetensors").stat().st_size

    with pytest.raises(InvalidInput, match="is truncated") as caught:
        read_weights(tmp_path)
    assert f"{size:,} bytes, the header says {size + 40:,}" in str(caught.value)


def test_trailing_bytes_are_refused(tmp_path: Path) -> None:
    write_safetensors(tmp_path / "model.safetensors", {"x": ("F32", (25,))})
    with (tmp_path / "model.safetensors").open("ab") as file:
        file.write(b"more")

    with pytest.raises(InvalidInput, match="more bytes than its header tells"):
        read_weights(tmp_path)


def write_index(folder: Path, placed: dict[str, str]) -> None:
    text = json.dumps({"weight_map": placed})
    (folder / "model.safetensors.index.json").write_text(text)


def test_shards_are_read_together(tmp_path: Path) -> None:
    write_safetensors(tmp_path / "model-1.safetensors", {"a": ("F32", (2,))})
    write_safetensors(tmp_path / "model-2.safetensors", {"b": ("F16", (3,))})
    write_index(tmp_path, {"a": "model-1.safetensors", "b": "model-2.safetensors"})

    weights = read_weights(tmp_path)

    assert [tensor.name for tensor in weights.tensors] == ["a", "b"]
    assert weights.files == (
        "model.safetensors.index.json",
        "model-1.safetensors",
        "model-2.safetensors",
    )


def test_missing_shard_is_named(tmp_path: Path) -> None:
    write_safetensors(tmp_path / "model-1.safetensors", {"a": ("F32", (2,))})
    write_index(tmp_path, {"a": "model-1.safetensors", "b": "model-2.safetensors"})

    with pytest.raises(InvalidInput, match=r"lacks model-2\.safetensors"):
        read_weights(tmp_path)


def test_index_that_promises_a_tensor_no_file_holds(tmp_path: Path) -> None:
    write_safetensors(tmp_path / "model-1.safetensors", {"a": ("F32", (2,))})
    write_index(tmp_path, {"a": "model-1.safetensors", "b": "model-1.safetensors"})

    with pytest.raises(InvalidInput, match="no file holds: b"):
        read_weights(tmp_path)


@pytest.mark.parametrize(
    ("name", "told", "hint"),
    [
        ("pytorch_model.bin", "as a pickle only", "save_pretrained"),
        ("pytorch_model-00001-of-00002.bin", "as a pickle only", "save_pretrained"),
        ("model.pt", "as a pickle only", "save_pretrained"),
        ("adapter_model.safetensors", "an adapter", "merge"),
        ("model.gguf", "GGUF weights", "safetensors edition"),
        ("tf_model.h5", "TensorFlow weights", "safetensors edition"),
        ("weights.safetensors", "but no model.safetensors", "rename"),
        ("notes.txt", "holds no weights", "download the whole model"),
    ],
)
def test_folders_without_weights_say_what_they_hold(
    tmp_path: Path, name: str, told: str, hint: str
) -> None:
    (tmp_path / name).write_bytes(b"x")

    with pytest.raises(InvalidInput, match=told) as caught:
        read_weights(tmp_path)
    assert hint in str(caught.value.problems[0].hint)
