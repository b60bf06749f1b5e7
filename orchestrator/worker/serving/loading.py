"""A published model ready to answer, whatever its task; called by `orchestrator predict`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from orchestrator.worker.serving.base import Answering

WRITES = ("causal-lm", "translation", "summarization")


def load_predictor(folder: Path, spec: Mapping[str, Any], base: Path | None = None) -> Answering:
    """Reads a model folder.

    Args:
        folder: A published version, pulled.
        spec: The body of its resolved spec; empty for models from elsewhere, which classify.
        base: Of an adapter, the whole model it belongs to.
    """
    task = spec.get("task", {})
    if task.get("type") in WRITES:
        from orchestrator.worker.serving.write import TextPredictor

        return TextPredictor.load(folder, spec, base)
    from orchestrator.worker.serving.predict import Predictor

    length = spec.get("training", {}).get("max_length")
    return Predictor.load(folder, length, base, task.get("threshold"))
