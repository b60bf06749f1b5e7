"""What every published model that answers has in common, whatever its task."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

Text = str | tuple[str, str]
"""What a model is asked about: a text, or two that are read together."""


class Answer(Protocol):
    """What a model makes of one text."""

    def fields(self) -> dict[str, Any]:
        """What a row is written out with."""
        ...


class Answering(Protocol):
    """A model ready to answer."""

    def predict(self, texts: Sequence[Text], *, batch_size: int = 32) -> Sequence[Answer]:
        """One answer a text, in order."""
        ...
