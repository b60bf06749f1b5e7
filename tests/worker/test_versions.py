from __future__ import annotations

import pytest

from orchestrator import __version__
from orchestrator.errors import VersionMismatch
from orchestrator.records import LaunchHead
from orchestrator.worker.versions import check_version


def test_the_servers_version_is_wanted() -> None:
    check_version(LaunchHead(job="j", attempt=1, store="memory://", version=__version__))
    with pytest.raises(VersionMismatch, match=r"the server runs version 9\.9") as caught:
        check_version(LaunchHead(job="j", attempt=1, store="memory://", version="9.9"))
    assert caught.value.hint is not None
    assert "uv pip install 'finetune-orchestrator[worker]==9.9'" in caught.value.hint
