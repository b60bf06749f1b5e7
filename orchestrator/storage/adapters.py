"""Which base a published adapter belongs to: read from the lineage that was published with it.

Called by `storage.bases`, which finds that base again. PEFT's own config names the base for other
programs; a digest of it, by which another base is refused, is only here.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from orchestrator.inspect.adapters import is_adapter

LINEAGE_FILE = "lineage.json"


@dataclass(frozen=True, slots=True)
class Origin:
    """The whole model an adapter was trained beside."""

    name: str  # as in `model.base`
    revision: str | None  # of a hub's model: the commit
    digest: str  # of its bytes, as `inspect.model` takes it

    @property
    def loadable(self) -> str:
        """The base as other programs may know it: a hub's name or a folder, else ours."""
        return self.name.removeprefix("hf://").removeprefix("file://")

    def document(self) -> dict[str, str | None]:
        """As it is written into a lineage."""
        return {"name": self.name, "revision": self.revision, "digest": self.digest}


def origin_of(folder: Path) -> Origin | None:
    """The base that an adapter's folder belongs to; None of what is no adapter published here."""
    if not is_adapter(folder):
        return None
    try:
        written = json.loads((folder / LINEAGE_FILE).read_bytes())["adapter_of"]
        return Origin(str(written["name"]), written.get("revision"), str(written["digest"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None  # of other making: a whole model is wanted, and `inspect.model` says so
