"""A published model ready to answer, whatever its task; called by `orchestrator predict`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from orchestrator.errors import UserError
from orchestrator.worker.serving.base import Answering

WRITES = ("causal-lm", "translation", "summarization")
BASES = ("masked-lm", "denoising")
"""Tasks whose models are there to be trained further."""


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
    if task.get("by") == "likelihood":
        from orchestrator.worker.serving.likelihood import LikelihoodPredictor

        return LikelihoodPredictor.load(folder, spec, base)
    if spec.get("task", {}).get("type") in BASES:
        raise UserError(
            "this model was pretrained and has learned no task yet",
            hint="name it as model.base of a job, e.g. of text-classification or translation",
        )
    from orchestrator.worker.serving.predict import Predictor

    length = spec.get("training", {}).get("max_length")
    return Predictor.load(folder, length, base, task.get("threshold"))
