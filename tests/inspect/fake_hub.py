"""The Hugging Face hub as far as this project asks it, with one model."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from tests.inspect.model_folders import TINY_CONFIG, TINY_TENSORS, Shapes

COMMIT = "c0ffee" + "0" * 34


class FakeHub:
    """A hub with one model; records what was asked for."""

    def __init__(self, folder: Path, config: dict[str, Any] | None = None) -> None:
        self.asked: list[tuple[str, str | None]] = []
        self.files = ["config.json", "model.safetensors", "tokenizer.json", "README.md"]
        self.shapes: Shapes = TINY_TENSORS
        self.fault: Exception | None = None
        self._config = folder / "config.json"
        self._config.write_text(json.dumps(TINY_CONFIG if config is None else config))

    def model_info(
        self, repo_id: str, *, revision: str | None = None, timeout: float | None = None
    ) -> Any:
        self._ask("info", revision)
        return SimpleNamespace(
            sha=COMMIT, siblings=[SimpleNamespace(rfilename=name) for name in self.files]
        )

    def get_safetensors_metadata(self, repo_id: str, *, revision: str | None = None) -> Any:
        self._ask("weights", revision)
        tensors = {
            name: SimpleNamespace(dtype=dtype, shape=list(shape))
            for name, (dtype, shape) in self.shapes.items()
        }
        file = SimpleNamespace(tensors=tensors)
        return SimpleNamespace(files_metadata={"model.safetensors": file})

    def hf_hub_download(self, repo_id: str, filename: str, *, revision: str | None = None) -> str:
        self._ask(filename, revision)
        return str(self._config)

    def _ask(self, what: str, revision: str | None) -> None:
        self.asked.append((what, revision))
        if self.fault is not None:
            raise self.fault
