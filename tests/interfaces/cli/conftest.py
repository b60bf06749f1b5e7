import json
import logging
import os
from dataclasses import replace

import pytest
from click.testing import CliRunner

from orchestrator.interfaces.api.app import create_app
from orchestrator.interfaces.api.serving import ApiServer
from orchestrator.interfaces.cli.main import cli
from orchestrator.interfaces.client import connection
from orchestrator.records import Role
from orchestrator.storage.objectstore import open_store
from orchestrator.storage.registry import ModelRegistry
from tests.interfaces.api.builders import Place


@pytest.fixture(autouse=True)
def _settled(tmp_path, monkeypatch):
    """Settings of nobody: an empty home, no variables of ours, a folder of the test's own."""
    for name in list(os.environ):
        if name.startswith("ORCHESTRATOR_"):
            monkeypatch.delenv(name)
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    for name in ("XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLUMNS", "80")
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)


@pytest.fixture(autouse=True)
def _logging_of_before():
    """Commands send the log to a stderr that is closed when they end."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture
def work(tmp_path):
    """The current folder of the test."""
    return tmp_path / "work"


@pytest.fixture
def orchestrator():
    """Runs `orchestrator …` in this process."""

    def run(*words, **kwargs):
        return CliRunner().invoke(cli, [str(word) for word in words], **kwargs)

    return run


@pytest.fixture
def publish(work, tmp_path):
    """Publishes a model of little files to the default store."""

    def publish(name, *, run="job-1", test=None, before=None, adapter_of=None, **sections):
        folder = tmp_path / f"to-publish-{name}-{run}"
        folder.mkdir()
        (folder / "model.safetensors").write_bytes(b"weights of " + run.encode())
        selection = {"metric": "camera/macro_f1", "mode": "max", "value": 0.8, "step": 40}
        metrics = {"format": 1, "test": test or {}, "before": before, "selection": selection}
        (folder / "metrics.json").write_text(json.dumps(metrics))
        body = {
            "task": {"type": "text-classification"},
            "method": {"type": "full"},
            "data": {"train_on": ["camera"]},
            "training": {"max_length": 64},
            "evaluation": {"metrics": ["macro_f1"]},
            **sections,
        }
        lineage = {
            "job": run,
            "base": {"name": "package://encoder", "digest": "ab" * 32},
            "spec": {"resolved": {"spec": body}},
            "seconds": {"train": 100.0, "publish": 5.0},
            "attempts": [{"attempt": 1}, {"attempt": 2}],
        }
        if adapter_of is not None:
            base, digest = adapter_of
            lineage["adapter_of"] = {"name": str(base), "revision": None, "digest": digest}
            (folder / "model.safetensors").rename(folder / "adapter_model.safetensors")
            (folder / "adapter_config.json").write_text("{}")
        (folder / "lineage.json").write_text(json.dumps(lineage))
        return ModelRegistry(open_store(str(work / "models"))).publish(name, folder, run=run)

    return publish


@pytest.fixture
def place(tmp_path):
    """What a server knows, and short ways to change it."""
    folder = tmp_path / "served"
    folder.mkdir()
    place = Place(folder)
    place.app = create_app(replace(place.service, stream_seconds=60.0))
    yield place
    place.close()


@pytest.fixture
def server(place, monkeypatch):
    """The server itself, which commands ask unless they are told otherwise."""
    monkeypatch.setattr(connection, "RETRY_DELAYS_SECONDS", ())
    with ApiServer(place.app, "127.0.0.1") as server:
        monkeypatch.setenv("ORCHESTRATOR_URL", server.url)
        yield server


@pytest.fixture
def ask(place, server, orchestrator, monkeypatch):
    """Runs `orchestrator …` against the server, as somebody."""

    def ask(*words, team="vision", role=Role.SUBMITTER, name="ada", **kwargs):
        monkeypatch.setenv("ORCHESTRATOR_TOKEN", place.token(team, role, name))
        return orchestrator(*words, **kwargs)

    return ask
