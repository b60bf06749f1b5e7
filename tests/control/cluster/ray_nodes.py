"""A real Ray cluster, a node a machine: somebody else's cluster, as the backend `ray` meets it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx

from tests.control.cluster.network import Machine

TOKEN = "a-token-of-the-cluster-alone"
GCS_PORT, DASHBOARD_PORT = 6379, 8265
START_SECONDS = 240.0

# What no share of two cores should go to.
_FRUGAL = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_worker_niceness": "0",
    "RAY_enable_worker_prestart": "0",
    "RAY_prestart_worker_first_driver": "0",
    "RAY_enable_metrics_collection": "0",
    "RAY_event_stats": "0",
    "RAY_TRAIN_METRICS_ENABLED": "0",
    "METRICS_RECORD_INTERVAL_S": "3600",
    "REPORTER_UPDATE_INTERVAL_MS": "60000",
}

_OF_THE_NODE = ("ray::IDLE", "ray::DashboardAgent", "ray::RuntimeEnvAgent")


class RayNodes:
    """Nodes on machines; the first one is the head."""

    def __init__(self, machines: list[Machine], disk: Path, environment: Mapping[str, str]) -> None:
        """
        Args:
            machines: One a node.
            disk: Where each of them sees its own disk.
            environment: What the cluster's operator gave to its nodes, e.g. a store's credentials.
        """
        self.machines = machines
        self._disk = disk
        binaries = str(Path(sys.executable).parent)
        self._environment = {
            **_FRUGAL,
            "PATH": f"{binaries}:{os.environ['PATH']}",
            "HOME": str(disk / "home"),
            "LANG": "C.UTF-8",
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": TOKEN,
            "OMP_NUM_THREADS": "1",
            **environment,
        }

    @property
    def head(self) -> Machine:
        return self.machines[0]

    @property
    def url(self) -> str:
        """Of the dashboard, on the machines' network."""
        return f"http://{self.head.address}:{DASHBOARD_PORT}"

    def start(self) -> None:
        for machine in self.machines:
            self.start_node(machine)

    def start_node(self, machine: Machine) -> None:
        """Brings a node up, for the first time or after its machine was killed."""
        (machine.disk / "home").mkdir(exist_ok=True)
        common = (
            f"--node-ip-address={machine.address}",
            f"--node-name={machine.name}",
            "--num-cpus=1",
            f"--object-store-memory={100_000_000}",
            f"--temp-dir={self._disk / 'ray'}",
            "--disable-usage-stats",
        )
        if machine is self.head:
            own: tuple[str, ...] = (
                "--head",
                f"--port={GCS_PORT}",
                f"--dashboard-host={machine.address}",
                f"--dashboard-port={DASHBOARD_PORT}",
            )
        else:
            own = (f"--address={self.head.address}:{GCS_PORT}",)
        ray = str(Path(sys.executable).with_name("ray"))
        with (machine.disk / "start.log").open("ab") as log:
            subprocess.run(
                machine.command(ray, "start", *own, *common, disk=self._disk),
                env=self._environment,
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                check=True,
                timeout=START_SECONDS,
            )

    def wait_alive(self, count: int, seconds: float = 120.0) -> None:
        deadline = time.monotonic() + seconds
        while len(self.alive()) != count:
            assert time.monotonic() < deadline, f"{self.alive()} are alive, not {count}"
            time.sleep(0.5)

    def alive(self) -> list[str]:
        return sorted(row["node_name"] for row in self.listed("nodes") if row["state"] == "ALIVE")

    def leftovers(self) -> dict[str, list[Any]]:
        """What of any job is still there: by the cluster's own word, and processes."""
        actors = [a for a in self.listed("actors", detail=True) if a["state"] != "DEAD"]
        groups = [g for g in self.listed("placement_groups") if g["state"] != "REMOVED"]
        jobs = [j for j in self.listed("jobs") if j["status"] in ("PENDING", "RUNNING")]
        return {
            "jobs": [job["submission_id"] for job in jobs],
            "actors": [(a["class_name"], a["state"], a["name"]) for a in actors],
            "placement groups": [group["placement_group_id"] for group in groups],
            "processes": [line for machine in self.machines for line in _of_jobs(machine)],
        }

    def listed(self, what: str, *, detail: bool = False) -> list[dict[str, Any]]:
        answer = httpx.get(
            f"http://{self.head.address}:{DASHBOARD_PORT}/api/v0/{what}",
            params={"limit": 1000, "detail": detail, "exclude_driver": True},
            headers={"Authorization": f"Bearer {TOKEN}"},
            timeout=30,
            trust_env=False,
        )
        answer.raise_for_status()
        found: list[dict[str, Any]] = answer.json()["data"]["result"]["result"]
        return found


def _of_jobs(machine: Machine) -> list[str]:
    """Processes of jobs on a machine: drivers, their supervisors, actors, ranks."""
    lines = []
    for pid in machine.pids():
        line = command_line(pid)
        of_worker = "orchestrator.worker" in line
        of_ray = line.startswith("ray::") and not line.startswith(_OF_THE_NODE)
        if of_worker or of_ray:
            lines.append(f"{machine.name}: {pid} {line[:150]}")
    return lines


def command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
    except OSError:
        return ""
