"""Relative places of a spec -> absolute ones, so that a resolved spec means the same anywhere.

Called by whoever resolves a spec for a launch: workers run in folders of their own.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from orchestrator.specs.data import SPLITS
from orchestrator.specs.finetune import FineTune
from orchestrator.specs.location_checks import scheme_of


def local_path(place: str, base_dir: Path) -> Path | None:
    """The path of a folder, file or glob given relative to `base_dir`; None for any other URL."""
    scheme = scheme_of(place)
    if scheme == "file":
        return Path(place.partition("://")[2])
    if scheme is not None:
        return None
    return base_dir / Path(place).expanduser()


def with_absolute_paths(spec: FineTune, base_dir: Path) -> FineTune:
    """`spec` with the local paths of its sources, base, code and store made absolute."""
    document: dict[str, Any] = spec.model_dump(mode="json", exclude_none=True)
    body = document["spec"]
    for domain in body["data"]["domains"].values():
        for split in SPLITS:
            for source in domain.get(split, ()):
                _make_absolute(source, "path", base_dir)
    _make_absolute(body.get("model", {}), "base", base_dir)
    _make_absolute(body["runtime"], "code", base_dir)
    _make_absolute(body["output"], "store", base_dir)
    return FineTune.model_validate(document)


def _make_absolute(holder: dict[str, Any], field: str, base_dir: Path) -> None:
    place = holder.get(field)
    if place is not None and scheme_of(place) is None:
        path = local_path(place, base_dir)
        assert path is not None
        holder[field] = str(path.absolute())
