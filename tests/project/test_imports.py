"""The command line answers at once: what it shows or checks needs no heavy library."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.project import ROOT

HEAVY = {
    "torch",
    "transformers",
    "deepspeed",
    "ray",
    "kubernetes",
    "fastapi",
    "sqlalchemy",
    "datasets",
    "sklearn",
}
PROGRAM = """
import atexit, json, sys
atexit.register(lambda: print("\\n" + json.dumps(sorted(sys.modules)), file=sys.stderr))
from orchestrator.interfaces.cli.main import main
main()
"""


def modules_of(*arguments: str) -> set[str]:
    """Top-level modules in memory when the command has ended."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments], capture_output=True, text=True, cwd=ROOT
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return {name.partition(".")[0] for name in json.loads(done.stderr.splitlines()[-1])}


@pytest.mark.parametrize(
    "arguments",
    [("--help",), ("--version",), ("schema",), ("validate", "jobs/quickstart.yaml")],
    ids=lambda arguments: arguments[0].strip("-"),
)
def test_no_heavy_library_is_loaded(arguments: tuple[str, ...]) -> None:
    loaded = modules_of(*arguments)

    assert "click" in loaded, "the probe saw nothing"
    assert loaded & HEAVY == set()


def test_the_records_and_specs_are_light() -> None:
    code = "import orchestrator.specs, orchestrator.records, sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert loaded & (HEAVY | {"pyarrow", "obstore", "httpx", "rich"}) == set()
