"""The git commit of a folder, for the lineage of what is made from it.

Called by whoever submits a spec: the one-shot run and the client.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

GIT_SECONDS = 5.0


def commit_of(folder: Path) -> str | None:
    """The commit the folder is at, `-dirty` where something is not committed; None without git."""
    command = ["git", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=40"]
    try:
        done = subprocess.run(
            [*command, "--exclude=*"],
            capture_output=True,
            text=True,
            timeout=GIT_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None if done.returncode == 0 else None
