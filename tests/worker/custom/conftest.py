"""A gang of one, in the test's own process."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch.distributed as dist

from orchestrator.worker.gang import Gang


@pytest.fixture(scope="module")
def gang(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gang]:
    meeting = tmp_path_factory.mktemp("gang") / "meeting"
    dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=0, world_size=1)
    yield Gang.join()
    dist.destroy_process_group()


@pytest.fixture(autouse=True)
def imports_are_forgotten(tmp_path: Path) -> Iterator[None]:
    """What a test's code imported is no module of the next one's."""
    path, modules = list(sys.path), set(sys.modules)
    yield
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        found = getattr(sys.modules[name], "__file__", None)
        if found is not None and Path(found).is_relative_to(tmp_path):
            del sys.modules[name]
