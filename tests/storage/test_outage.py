"""The server is killed and started again; what was under way ends as if nothing had been."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from orchestrator.storage.objectstore import open_store
from tests.seaweed import S3Server


@pytest.fixture
def outage(s3_env: S3Server) -> Iterator[S3Server]:
    """A server that is running again when the test is over, however it ends."""
    yield s3_env
    if s3_env.process is None or s3_env.process.poll() is not None:
        s3_env.start()


def test_operations_wait_for_the_store_to_come_back(outage: S3Server, tmp_path: Path) -> None:
    weights = os.urandom(9 * 1024 * 1024)
    (tmp_path / "weights").write_bytes(weights)
    open_store(outage.url("outage")).put_bytes("before", b"kept")
    outage.kill()

    tried = threading.Event()

    def sleep(seconds: float) -> None:
        tried.set()
        threading.Event().wait(min(seconds, 0.5))

    store = open_store(outage.url("outage"), retry_seconds=60, sleep=sleep)
    with ThreadPoolExecutor(3) as pool:
        reading = pool.submit(store.get_bytes, "before")
        writing = pool.submit(store.put_file, "weights", tmp_path / "weights")
        claiming = pool.submit(store.put_bytes, "claim", b"mine", create_only=True)
        assert tried.wait(30)
        assert not any(operation.done() for operation in (reading, writing, claiming))
        outage.start()
        assert reading.result(60) == b"kept"
        assert writing.result(60).size_bytes == len(weights)
        claiming.result(60)
    assert store.get_bytes("claim") == b"mine"
    store.get_file("weights", tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == weights
