"""Jobs with user code: the code in a store, and the Launch that names it."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

from orchestrator.inspect.code import pack_folder
from orchestrator.records import Identity, Launch
from orchestrator.specs import API_VERSION, FineTune
from orchestrator.storage.checkpoints import CheckpointStore
from orchestrator.storage.code import CodeStore
from orchestrator.storage.objectstore import open_store

JOB = "job-01arz3ndektsv4rrffq69g5fav"
SCRIPT = "train.py"


def write_files(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
    return folder


def with_code(launch: Launch, files: dict[str, str]) -> Launch:
    """The Launch with this code in its store."""
    assert launch.scratch is not None
    folder = write_files(Path(launch.scratch) / f"pkg-{len(files)}", files)
    code = pack_folder(folder)
    CodeStore(open_store(launch.store)).put(code)
    identity = launch.identity.model_copy(update={"code": code.sha256})
    return launch.model_copy(update={"identity": identity})


def script_launch(
    scratch: Path, script: str, files: dict[str, str] | None = None, **sections: Any
) -> Launch:
    """A Launch of a custom task; `sections` are of the spec, `task` adds to its task."""
    rows = write_files(scratch / "data", {"rows.jsonl": '{"text": "fine"}\n'}) / "rows.jsonl"
    body: dict[str, Any] = {
        "data": {"domains": {"toy": {"train": [{"path": str(rows)}]}}},
        "runtime": {"code": "/pkg"},
        "output": {"store": str(scratch / "store"), "name": "toy"},
        **sections,
        "task": {"type": "custom", "entrypoint": SCRIPT, **sections.get("task", {})},
    }
    written = {"apiVersion": API_VERSION, "kind": "FineTune", "metadata": {"name": "toy"}}
    launch = Launch(
        job=JOB,
        attempt=1,
        spec=FineTune.model_validate({**written, "spec": body}),
        written="",
        identity=Identity(run="0" * 64, data={"toy/train": "2" * 64}, base="", recipe="test"),
        store=str(scratch / "store"),
        cache=str(scratch / "cache"),
        scratch=str(scratch),
        submitted_at=0.0,
    )
    return with_code(launch, {SCRIPT: script, **(files or {})})


def checkpoints_of(launch: Launch) -> CheckpointStore:
    return CheckpointStore(open_store(launch.store), launch.job)
