"""Whether this node's package is the one that wrote a Launch: asked by driver and ranks, first.

Server and cluster are upgraded apart. Another version may read a spec differently, so that what is
trained would not be what was planned.
"""

from __future__ import annotations

from orchestrator import __version__
from orchestrator.errors import VersionMismatch
from orchestrator.records import LaunchHead

PACKAGE = "finetune-orchestrator"


def check_version(head: LaunchHead) -> None:
    """Raises VersionMismatch where the Launch was written by another version."""
    if head.version is not None and head.version != __version__:
        raise VersionMismatch(
            f"the server runs version {head.version} of {PACKAGE}, this node {__version__}",
            hint=install_hint(head.version),
        )


def missing_part(error: ModuleNotFoundError, head: LaunchHead) -> VersionMismatch:
    """What to say of a node that lacks a library the worker needs."""
    return VersionMismatch(
        f"this node has no module {error.name!r}",
        hint=install_hint(head.version or __version__),
    )


def install_hint(version: str) -> str:
    return f"on every node of the cluster: uv pip install '{PACKAGE}[worker]=={version}'"
