"""A published model ready to answer, whatever its task; called by `orchestrator predict`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol


class Answer(Protocol):
    """What a model makes of one text."""

    def fields(self) -> dict[str, Any]:
        """What a row is written out with."""
        ...


class Answering(Protocol):
    """A model ready to answer."""

    def predict(self, texts: Sequence[str], *, batch_size: int = 32) -> Sequence[Answer]:
        """One answer a text, in order."""
        ...


WRITES = ("causal-lm", "translation", "summarization")


def load_predictor(folder: Path, spec: Mapping[str, Any], base: Path | None = None) -> Answering:
    """Reads a model folder.

    Args:
        folder: A published version, pulled.
        spec: The body of its resolved spec; empty for models from elsewhere, which classify.
        base: Of an adapter, the whole model it belongs to.
    """
    if spec.get("task", {}).get("type") in WRITES:
        from orchestrator.worker.serving.write import TextPredictor

        return TextPredictor.load(folder, spec, base)
    from orchestrator.worker.serving.predict import Predictor

    return Predictor.load(folder, spec.get("training", {}).get("max_length"), base)
