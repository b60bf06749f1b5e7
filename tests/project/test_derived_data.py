"""jobs/data/derived is what jobs/data/derive.py makes of the committed reviews."""

from __future__ import annotations

import importlib.util
from pathlib import Path

DATA = Path(__file__).parents[2] / "jobs" / "data"


def test_the_committed_rows_are_those_the_script_writes() -> None:
    spec = importlib.util.spec_from_file_location("derive", DATA / "derive.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    files = {name: module.lines(rows) for name, rows in module.derived().items()}
    found = {
        path.relative_to(DATA / "derived").as_posix(): path.read_text()
        for path in (DATA / "derived").rglob("*.jsonl")
    }
    assert files == found
    assert len(files) == 10
