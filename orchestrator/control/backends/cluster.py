"""An embedded Ray cluster as its owner sees it: spawn, wait until ready, stop; and the stale ones.

Called by `local`, and by `detached` for what both kinds have in common. The cluster is private: own
folder, own ports, own token, loopback only. It never joins or stops another cluster, and what the
environment says of one (RAY_ADDRESS) is dropped.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import secrets
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from orchestrator.control.backends.processes import CLUSTER_VARIABLE, end_cluster
from orchestrator.errors import LaunchFailed, SettingsError
from orchestrator.settings import SECRET_PREFIX

# `<root>/<name>/session_<26 characters>_<pid>/sockets/plasma_store` must stay below 108 bytes.
MAX_ROOT_CHARACTERS = 30
OBJECT_STORE_BYTES = 100_000_000  # the training function and small results; never weights or data
MESSAGE_LINES = 15
STOP_SECONDS = 20.0
KILL_SECONDS = 10.0

_PRIVATE = {
    "RAY_AUTH_MODE": "token",  # unset, Ray would decide by the files it finds
    "RAY_USAGE_STATS_ENABLED": "0",
    # Ray's switch for one-machine mode; without it 127.0.0.1 becomes the machine's address.
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "DASHBOARD_METRIC_PORT": "0",
    "AUTOSCALER_METRIC_PORT": "0",
}
_QUIET = {
    "RAY_worker_niceness": "0",  # 15 by default: any other process would starve the ranks
    "RAY_enable_worker_prestart": "0",
    "RAY_prestart_worker_first_driver": "0",
    # What nobody reads here but costs a share of every core.
    "RAY_enable_metrics_collection": "0",
    "RAY_task_events_report_interval_ms": "0",
    "RAY_event_stats": "0",
    "RAY_memory_monitor_refresh_ms": "1000",
    "METRICS_RECORD_INTERVAL_S": "3600",
    "REPORTER_UPDATE_INTERVAL_MS": "60000",
    # Helper processes of Ray Train that a single node has no use for.
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",
    "RAY_TRAIN_METRICS_ENABLED": "0",
}

# On a busy machine interpreters take their time; `wait_ready` has the last word on how long.
_PATIENT = {
    "RAY_DASHBOARD_STARTUP_TIMEOUT_S": "600",
    "RAY_gcs_server_port_wait_time_s": "600",
    "RAY_raylet_start_wait_time_s": "600",
    "RAY_agent_register_timeout_ms": "600000",
    "RAY_worker_register_timeout_seconds": "600",
    "RAY_health_check_failure_threshold": "60",  # there is no other node to go on with
}


@dataclass(frozen=True, slots=True)
class ClusterSize:
    """What the cluster offers to gangs."""

    num_cpus: int
    num_gpus: int = 0
    node_name: str = "local"  # by which placements name the one node


@dataclass(frozen=True, slots=True)
class ClusterAddress:
    """Where a ready cluster is reached, and how long its starter took."""

    gcs: str
    dashboard_url: str
    seconds: float


class EmbeddedCluster:
    """One cluster, from `spawn` to `stop`."""

    def __init__(
        self,
        root: Path,
        cluster_id: str,
        token: str,
        warden: subprocess.Popen[bytes],
        errors: IO[bytes],
    ) -> None:
        self.cluster_id = cluster_id
        self.token = token
        self.folder = root / folder_name(cluster_id)
        self.address: ClusterAddress | None = None  # once it is ready
        self._warden = warden
        self._errors = errors
        self._spawned_at = time.monotonic()

    @classmethod
    def spawn(
        cls, root: Path, size: ClusterSize, environ: Mapping[str, str] | None = None
    ) -> EmbeddedCluster:
        """Begins to start a cluster and returns at once; first clears what dead ones left.

        Args:
            root: Folder of all embedded clusters of this user; made if absent.
            size: What the cluster offers.
            environ: What its processes inherit (this process's own unless given): object stores
                find their credentials there, so that they are in no file and no job record.
        """
        prepare_root(root)
        remove_stale(root)
        cluster_id, token = secrets.token_hex(16), secrets.token_urlsafe(32)
        errors = tempfile.TemporaryFile()  # noqa: SIM115 (closed by `stop`)
        warden = subprocess.Popen(
            warden_command(root, cluster_id, size, "--parent", str(os.getpid())),
            stdin=subprocess.PIPE,  # held open for life: its end tells the warden that we are gone
            stdout=subprocess.PIPE,
            stderr=errors,
            env=cluster_environment(os.environ if environ is None else environ, cluster_id, token),
            start_new_session=True,
            cwd="/",
        )
        return cls(root, cluster_id, token, warden, errors)

    @property
    def is_alive(self) -> bool:
        return self._warden.poll() is None

    @property
    def warden_pid(self) -> int:
        return self._warden.pid

    def wait_ready(
        self, timeout_seconds: float, cancelled: Callable[[], bool] = lambda: False
    ) -> ClusterAddress:
        """Blocks until Ray is up. Raises LaunchFailed if it does not come up or is `cancelled`."""
        stream = self._warden.stdout
        assert stream is not None
        deadline = self._spawned_at + timeout_seconds
        while time.monotonic() < deadline:
            if cancelled():
                raise LaunchFailed("the start of Ray was interrupted")
            if select.select([stream], [], [], 0.2)[0]:
                line = stream.readline()
                if not line:
                    break
                self.address = ready_address(line)
                return self.address
        late = time.monotonic() >= deadline
        what = f"did not come up in {timeout_seconds:.0f} s" if late else "ended while starting"
        if not late:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._warden.wait(STOP_SECONDS)  # it is writing down why
        told = last_words(self.errors())
        self.stop()
        raise LaunchFailed(f"the embedded Ray {what}{told}", hint=remedy())

    def stop(self) -> None:
        """Ends every process of the cluster and removes its folder; may be called twice."""
        if self._warden.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self._warden.stdin.close()
        with contextlib.suppress(ProcessLookupError):
            self._warden.send_signal(signal.SIGTERM)
        try:
            code = self._warden.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._warden.kill()
            code = self._warden.wait()
        if code != 0:  # it did not get to the end of its work
            end_cluster(self.cluster_id, self.folder, KILL_SECONDS)
            remove_folder(self.folder)
        for stream in (self._warden.stdout, self._errors):
            if stream is not None:
                stream.close()

    def errors(self) -> str:
        """What the cluster's starter has written so far; empty after `stop`."""
        if self._errors.closed:
            return ""
        self._errors.seek(0)
        return self._errors.read().decode(errors="replace").strip()


def ready_address(line: bytes) -> ClusterAddress:
    """What the starter's one line says."""
    told = json.loads(line)
    return ClusterAddress(told["address"], told["dashboard_url"], told["seconds"])


def cluster_environment(environ: Mapping[str, str], cluster_id: str, token: str) -> dict[str, str]:
    """What every process of a cluster inherits."""
    inherited = {name: value for name, value in environ.items() if not _is_kept_back(name)}
    binaries = str(Path(sys.executable).parent)  # the environment's ninja, for DeepSpeed's ops
    return {
        **_QUIET,
        **_PATIENT,
        **inherited,
        **_PRIVATE,
        "PATH": os.pathsep.join([binaries, environ.get("PATH", os.defpath)]),
        "RAY_AUTH_TOKEN": token,
        CLUSTER_VARIABLE: cluster_id,
    }


def prepare_root(root: Path) -> None:
    """Makes the folder of all clusters, readable by this user only."""
    if len(str(root)) > MAX_ROOT_CHARACTERS:
        raise SettingsError(
            f"ray_temp_dir: {root} is {len(str(root))} characters long; Ray's socket paths leave "
            f"room for {MAX_ROOT_CHARACTERS}",
            hint="set a shorter folder, e.g. ORCHESTRATOR_RAY_TEMP_DIR=/tmp/orc",
        )
    try:
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = root.lstat()
    except OSError as error:
        raise SettingsError(f"ray_temp_dir: {root} cannot be made: {error.strerror}") from None
    if root.is_symlink() or found.st_uid != os.getuid():
        raise SettingsError(
            f"ray_temp_dir: {root} belongs to someone else",
            hint="set ORCHESTRATOR_RAY_TEMP_DIR to a folder of your own",
        )
    root.chmod(0o700)


def remove_stale(root: Path) -> list[str]:
    """Ends and removes clusters whose warden is dead; returns their names."""
    removed = []
    for folder in root.iterdir():
        if not folder.is_dir() or not re.fullmatch(r"[0-9a-f]{8}", folder.name):
            continue
        lock_file = root / f"{folder.name}.lock"
        with lock_file.open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue  # its warden lives
            # The folder's name is the beginning of the cluster's id.
            end_cluster(folder.name, folder, KILL_SECONDS)
            remove_folder(folder)
        removed.append(folder.name)
    return removed


def warden_command(root: Path, cluster_id: str, size: ClusterSize, *owner: str) -> list[str]:
    """Starts a warden; `owner` are the arguments that say whose it is."""
    return [
        *(sys.executable, "-m", "orchestrator.control.backends.warden", *owner),
        *("--root", str(root), "--name", folder_name(cluster_id)),
        *("--num-cpus", str(size.num_cpus), "--num-gpus", str(size.num_gpus)),
        *("--node-name", size.node_name),
        *("--object-store-bytes", str(OBJECT_STORE_BYTES)),
    ]


def folder_name(cluster_id: str) -> str:
    return cluster_id[:8]


def remove_folder(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.with_name(f"{folder.name}.lock").unlink(missing_ok=True)


def _is_kept_back(name: str) -> bool:
    """What no process of a cluster inherits: other clusters, and secrets that jobs must name.

    Ray's tuning (RAY_lower_case, RAY_TRAIN_…) is the user's to set; addresses are not.
    """
    if name.startswith(SECRET_PREFIX):
        return True
    return re.match(r"RAY_(?!TRAIN_|DATA_|BACKEND_LOG_LEVEL)[A-Z]", name) is not None


def last_words(errors: str) -> str:
    """The end of what a cluster's starter has written, for an error's message."""
    lines = errors.splitlines()[-MESSAGE_LINES:]
    return ":\n" + "\n".join(lines) if lines else ""


def remedy() -> str:
    shared = shutil.disk_usage("/dev/shm").free if Path("/dev/shm").is_dir() else None
    if shared is not None and shared < OBJECT_STORE_BYTES:
        return f"/dev/shm has {shared / 1e6:.0f} MB free; make it larger (docker run --shm-size=1g)"
    return "orchestrator doctor checks what Ray needs"
