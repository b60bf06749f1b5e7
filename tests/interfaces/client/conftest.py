from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.interfaces.api.app import create_app
from orchestrator.interfaces.api.serving import ApiServer
from orchestrator.interfaces.client import Client
from tests.interfaces.api.builders import Place


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    for name in ("ORCHESTRATOR_URL", "ORCHESTRATOR_TOKEN", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    place = Place(tmp_path)
    place.app = create_app(replace(place.service, stream_seconds=60.0))
    yield place
    place.close()


@pytest.fixture
def server(place: Place) -> Iterator[ApiServer]:
    with ApiServer(place.app, "127.0.0.1") as server:
        yield server


@pytest.fixture
def client(place: Place, server: ApiServer) -> Iterator[Client]:
    with Client(server.url, place.token(), timeout_seconds=20) as client:
        yield client
