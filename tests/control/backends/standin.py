"""A stand-in for Ray that starts in no time: two daemons' worth of processes to keep or to end."""

from __future__ import annotations

import os
from pathlib import Path

NODE = """
import os, subprocess

class Node:
    # A daemon, and two orphans in sessions of their own.
    def __init__(self, parameters, **flags):
        assert "RAY_ADDRESS" not in os.environ, "it was told of another cluster"
        assert os.environ["RAY_AUTH_MODE"] == "token"
        self.address = "127.0.0.1:6379"
        self.address_info = {"webui_url": "127.0.0.1:8265"}
        print("noise on stdout")
        self.daemons = {
            "raylet": subprocess.Popen(["sleep", "601"]),
        }
        subprocess.run(["sh", "-c", "setsid sleep 602 & setsid sleep 603 & exit 0"])

    def dead_processes(self):
        return [(name, p) for name, p in self.daemons.items() if p.poll() is not None]

    def kill_all_processes(self, **flags):
        for daemon in self.daemons.values():
            daemon.kill()
"""


def stand_in(folder: Path) -> dict[str, str]:
    """Our own environment, with the stand-in where Python looks first."""
    private = folder / "ray/_private"
    private.mkdir(parents=True)
    for package in (private, private.parent):
        (package / "__init__.py").touch()
    (private / "node.py").write_text(NODE)
    (private / "services.py").write_text("def get_node(*_): return {}\n")
    (private / "parameter.py").write_text("class RayParams:\n    def __init__(self, **_): pass\n")
    return {**os.environ, "PYTHONPATH": str(folder), "RAY_ADDRESS": "10.0.0.1:6379"}
