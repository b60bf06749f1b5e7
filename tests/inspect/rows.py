"""Small data files and specs over them for tests."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from orchestrator.specs import FineTuneSpec

Row = tuple[str, str]

POLAR: list[Row] = [
    ("a fine camera", "pos"),
    ("a poor camera", "neg"),
    ("sharp and quick", "pos"),
    ("dull and slow", "neg"),
]


def jsonl(rows: Iterable[Row | dict[str, Any]]) -> str:
    lines = (row if isinstance(row, dict) else {"text": row[0], "label": row[1]} for row in rows)
    return "".join(json.dumps(line) + "\n" for line in lines)


def write(folder: Path, **files: str | bytes) -> Path:
    """Writes files named like `train_jsonl=…` -> `train.jsonl`."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        path = folder / name.replace("_", ".")
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return folder


def data_spec(domains: dict[str, dict[str, Any]], **sections: Any) -> FineTuneSpec:
    """A spec over `domains`: domain -> split -> a path, a source or a list of them."""

    def sources(value: Any) -> list[dict[str, Any]]:
        items = value if isinstance(value, list) else [value]
        return [{"path": item} if isinstance(item, str) else item for item in items]

    data = sections.pop("data", {}) | {
        "domains": {
            name: {split: sources(value) for split, value in splits.items()}
            for name, splits in domains.items()
        }
    }
    document = {
        "model": {"base": "package://some_package/model"},
        "task": {"type": "text-classification"},
        "data": data,
    }
    return FineTuneSpec.model_validate(document | sections)
