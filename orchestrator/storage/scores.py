"""Figures of base models, kept by what they follow from: many jobs ask how good one base is.

Only where that is dear, for texts the base writes. Used by the worker.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

from orchestrator.errors import ObjectNotFound
from orchestrator.storage.objectstore import ObjectStore

FORMAT = 1


class ScoreCache:
    """`.cache/scores/<digest>.json` of an object store."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store.child(".cache/scores")

    def get(self, key: str) -> dict[str, Any] | None:
        """What was kept; None where there is nothing, or nothing that can be read."""
        try:
            document = json.loads(self._store.get_bytes(f"{key}.json"))
        except (ObjectNotFound, ValueError):
            return None
        if not isinstance(document, dict) or document.get("format") != FORMAT:
            return None
        figures: dict[str, Any] = document["figures"]
        return figures

    def put(self, key: str, figures: dict[str, Any]) -> None:
        document = {"format": FORMAT, "figures": figures}
        self._store.put_bytes(f"{key}.json", json.dumps(document).encode())


def score_key(follows_from: dict[str, Any]) -> str:
    """sha256 (hex) over everything the figures follow from."""
    text = json.dumps(follows_from, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()
