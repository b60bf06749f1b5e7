"""What a training starts from: a whole model, and perhaps an adapter that is trained further."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from orchestrator.storage.adapters import Origin


@dataclass(frozen=True, slots=True)
class Start:
    """Folders on this node, and how the whole model is named elsewhere."""

    base: Path
    origin: Origin
    adapter: Path | None = None

    @property
    def folder(self) -> Path:
        """Of the newest part: its tokenizer is the one that was used."""
        return self.adapter or self.base
