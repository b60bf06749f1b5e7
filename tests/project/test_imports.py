"""The command line answers at once: what it shows or checks needs no heavy library."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import pytest

from tests.control.store.builders import a_job
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


def modules_of(*arguments: str, **variables: str) -> set[str]:
    """Top-level modules in memory when the command has ended."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=os.environ | variables,
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


class Answers(BaseHTTPRequestHandler):
    """A server that has one job, and every file already."""

    job = a_job().model_dump(mode="json")
    known: ClassVar[dict[str, object]] = {
        "GET /jobs": {"items": [job]},
        "GET /queues": [],
        "POST /jobs": {"job": job, "is_new": True},
        f"GET /jobs/{job['id']}/attempts": [],
        f"GET /jobs/{job['id']}/plan": {},
    }

    def answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        path = self.path.partition("?")[0].removeprefix("/api/v1")
        body = b"" if self.command == "HEAD" else json.dumps(self.known[f"{self.command} {path}"])
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body if isinstance(body, bytes) else body.encode())

    do_GET = do_POST = do_HEAD = answer  # noqa: N815 (names of the library)

    def log_message(self, format: str, *arguments: object) -> None:
        pass


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize(
    "arguments",
    [("jobs",), ("show", "camera", "--json"), ("queues",), ("submit", "jobs/quickstart.yaml")],
    ids=lambda arguments: arguments[0],
)
def test_who_asks_a_server_loads_nothing_that_one_is_made_of(
    url: str, arguments: tuple[str, ...]
) -> None:
    loaded = modules_of(*arguments, ORCHESTRATOR_URL=url)

    assert "httpx" in loaded, "the probe saw nothing"
    assert loaded & (HEAVY | {"starlette", "uvicorn", "alembic", "obstore", "numpy"}) == set()


def test_the_records_and_specs_are_light() -> None:
    code = "import orchestrator.specs, orchestrator.records, sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert loaded & (HEAVY | {"pyarrow", "obstore", "httpx", "rich"}) == set()
