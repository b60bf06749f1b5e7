"""One contract, every kind of store: a folder, memory, and a real S3 server."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest

from orchestrator.storage.objectstore import ObjectStore, open_store


@pytest.fixture(params=["folder", "memory", "s3"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty store."""
    if request.param == "folder":
        return str(tmp_path / "store")
    if request.param == "memory":
        return f"memory://{uuid.uuid4().hex}/prefix"
    server = request.getfixturevalue("s3_env")
    url: str = server.url(f"{uuid.uuid4().hex}/prefix")
    return url


@pytest.fixture
def store(store_url: str) -> ObjectStore:
    return open_store(store_url, retry_seconds=5.0)
