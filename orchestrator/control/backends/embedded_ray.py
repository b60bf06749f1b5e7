"""Starts one private Ray node and stays with it: the control plane's only module that imports ray.

Run by the warden as `python -m orchestrator.control.backends.embedded_ray`, with the token, the
mode of authentication and every other choice already in the environment (see `cluster`).

Ray's own starters do not fit: `ray.init()` binds the agent's port 52365, so a second cluster on the
host cannot take jobs; `ray start` adds a client server and both add an autoscaler. So the node is
built from the class that both of them use.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import sys
import threading
import time
from pathlib import Path
from types import FrameType
from typing import Any

import psutil

from orchestrator.control.backends.processes import die_with_parent

WATCH_SECONDS = 0.5


def main() -> int:
    arguments = _arguments()
    die_with_parent(arguments.parent)
    ready = _own_stdout()
    stop = threading.Event()

    def end(number: int, frame: FrameType | None) -> None:
        stop.set()

    signal.signal(signal.SIGTERM, end)
    started_at = time.monotonic()
    node = start_node(arguments)
    seconds = time.monotonic() - started_at
    # The job's driver finds its cluster by this file; without it Ray searches the host's processes.
    (Path(arguments.temp_dir) / "ray_current_cluster").write_text(node.address)
    line = {
        "address": node.address,
        "dashboard_url": f"http://{node.address_info['webui_url']}",
        "seconds": round(seconds, 3),
    }
    os.write(ready, json.dumps(line).encode() + b"\n")
    dead = watch(node, stop)
    node.kill_all_processes(check_alive=False, allow_graceful=not dead)
    for name in dead:
        print(f"Ray's {name} ended unexpectedly", file=sys.stderr)
    return 1 if dead else 0


def start_node(arguments: argparse.Namespace) -> Any:
    """A head node on loopback, its ports chosen by the kernel."""
    from ray._private.node import Node
    from ray._private.parameter import RayParams

    wait_as_long_as_the_raylet_lives()
    choices: dict[str, Any] = {  # Ray's own annotations are narrower than what it takes
        "num_cpus": arguments.num_cpus,
        "num_gpus": arguments.num_gpus,
        "object_store_memory": arguments.object_store_bytes,
        "temp_dir": arguments.temp_dir,
        "node_ip_address": "127.0.0.1",
        "node_name": arguments.node_name,
        "include_dashboard": True,  # it serves the Jobs API
        "dashboard_host": "127.0.0.1",
        "dashboard_port": 0,
        "dashboard_agent_listen_port": 0,
        "min_worker_port": 0,
        "max_worker_port": 0,
        "include_log_monitor": False,  # it forwards the workers' output to the driver
        "no_monitor": True,  # the autoscaler
    }
    return Node(RayParams(**choices), head=True, shutdown_at_exit=True, spawn_reaper=True)


def wait_as_long_as_the_raylet_lives() -> None:
    """Lifts Node's own limit of 30 seconds for its raylet: a busy machine needs longer."""
    from ray._private import services

    look: Any = services.get_node

    def get_node(*arguments: Any, **named: Any) -> Any:
        while True:
            try:
                return look(*arguments, **named)
            except RuntimeError:  # it has not registered yet
                if not _raylet_lives():
                    raise
                time.sleep(0.1)

    services.get_node = get_node


def _raylet_lives() -> bool:
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.Error):
            if child.name() == "raylet" and child.status() != psutil.STATUS_ZOMBIE:
                return True
    return False


def watch(node: Any, stop: threading.Event) -> list[str]:
    """Until `stop` is set or a process of the node has ended; the names of those that have."""
    while not stop.wait(WATCH_SECONDS):
        if dead := [str(name) for name, _ in node.dead_processes()]:
            return dead
    return []


def _own_stdout() -> int:
    """The real stdout for our one line; whatever else is printed goes to stderr."""
    ready = os.dup(1)
    os.dup2(2, 1)
    return ready


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--parent", type=int, required=True)
    parser.add_argument("--temp-dir", required=True)
    parser.add_argument("--node-name", required=True)
    parser.add_argument("--num-cpus", type=int, required=True)
    parser.add_argument("--num-gpus", type=int, required=True)
    parser.add_argument("--object-store-bytes", type=int, required=True)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
