"""Commands that ask a server load the client, and nothing that servers and workers are made of."""

import subprocess
import sys

HEAVY = {"fastapi", "starlette", "uvicorn", "sqlalchemy", "alembic", "obstore", "pyarrow"}
ENGINES = {"torch", "transformers", "deepspeed", "ray", "kubernetes", "numpy"}
PROGRAM = """
import sys
from orchestrator.interfaces.cli.main import cli
for words in sys.argv[1:]:
    cli.main(words.split(), standalone_mode=False)
print("loaded:", *sys.modules)
"""


def test_what_follows_is_light(server, place, monkeypatch):
    monkeypatch.setenv("ORCHESTRATOR_TOKEN", place.token())
    job = place.job()
    place.started(job.id)
    place.end_attempt(job.id)
    place.ended(job.id)
    commands = [
        f"{verb} {job.id}" for verb in ("logs -f", "events -f", "watch", "watch --json")
    ] + ["top --once", "top --once --json"]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *commands], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    loaded = {name.partition(".")[0] for name in done.stdout.rpartition("loaded:")[2].split()}
    assert "httpx" in loaded
    assert loaded & (HEAVY | ENGINES) == set()
