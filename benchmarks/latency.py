"""How soon the service acts and tells: `python -m benchmarks.latency [--jobs 20] [--real]`.

One server (SQLite, loopback) is used by its real command line. Printed are median and 95th
percentile, in seconds, of

- `orchestrator submit` to RUNNING: the command's own time until the server has its request, the
  controller's share, and the backend's. The backend alone, from the call to its word that the
  Attempt runs, is the baseline: nothing could be faster than that. The goal is a controller's
  share under 1 s at the median. On machines that are not there; with `--real` once more on this
  machine's Ray, which the job before has warmed up.
- an event until `events -f` has printed it, a line on a rank's stderr until `logs -f` has, and a
  step that a worker reports until `top` shows it. The goal is 1 s for each. Their baseline is a
  request to the server that is answered with nothing, as a process of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median, quantiles
from typing import IO, Any

import httpx

from benchmarks.commands import following, run, screen_of, until
from orchestrator.control.backends.base import AttemptHandle, AttemptStatus, LaunchRequest
from orchestrator.control.backends.configured import build_backends
from orchestrator.interfaces.client import Client, JobHandle
from orchestrator.records import REPORT_TOKEN_VARIABLE, Event, JobState, Launch, Phase, Report
from orchestrator.server.service import serving
from orchestrator.settings import Settings, load_settings
from orchestrator.storage.reading import read_text
from orchestrator.worker.training.reporting import Reporter

SPEC = Path(__file__).parent.parent / "jobs" / "quickstart.yaml"
SHORT = ("training.max_steps=2", "training.epochs=null", "evaluation.bootstrap_samples=0")
BACKEND_SECONDS = 5.0  # of an Attempt that is not there; a tenth of it until it runs
LONG_SECONDS = 900.0  # of one that is followed
REAL_SECONDS = 600.0
TICKS = 40
TICK_SECONDS = 0.37  # with no beat in common with whoever polls


# The server, a process of its own


def serve(folder: Path, kind: str, seconds: float) -> None:
    """Serves until it is told to stop; says on stdout where, and what its backend was asked."""
    settings = _settings(folder, kind, seconds)
    backends = build_backends(settings)
    for backend in backends.values():
        _time(backend)
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    with serving(settings, backends, host="127.0.0.1", port=0) as served:
        _say(url=served.url)
        stop.wait()
    if kind == "local":
        for backend in build_backends(settings).values():
            backend.close()


def _settings(folder: Path, kind: str, seconds: float) -> Settings:
    table = {"kind": kind} | ({"seconds": seconds} if kind == "fake" else {})
    flags = {
        "store": str(folder / "store"),
        "state_dir": str(folder / "state"),
        "ray_temp_dir": str(folder / "ray"),
        "authentication": "off",
        "backends": {kind: table},
    }
    return load_settings(flags)


def _time(backend: Any) -> None:
    """Has the backend say when it was asked to launch, and when it first said that it runs."""
    launch = backend.launch

    def timed(request: LaunchRequest) -> AttemptHandle:
        began = time.time()
        handle: AttemptHandle = launch(request)
        token = request.environment[REPORT_TOKEN_VARIABLE]
        _say(job=handle.job, began=began, path=request.launch_path, token=token)
        threading.Thread(target=until_it_runs, args=(handle,), daemon=True).start()
        return handle

    def until_it_runs(handle: AttemptHandle) -> None:
        while backend.observe(handle).status in (AttemptStatus.PENDING, AttemptStatus.UNKNOWN):
            time.sleep(0.01)
        _say(job=handle.job, running=time.time())

    backend.launch = timed


def _say(**said: Any) -> None:
    print(json.dumps(said), flush=True)


# A rank, a process of its own, whose stderr is a file


def rank(launch_path: str) -> None:
    """Writes lines that say when they were written; the real reporter sends them."""
    launch = Launch.model_validate_json(read_text(launch_path))
    with Reporter(launch, 0) as reporter:
        reporter.update(phase=Phase.TRAIN)
        for _ in range(TICKS):
            print(f"tick {time.time()!r}", file=sys.stderr, flush=True)
            time.sleep(TICK_SECONDS)
        time.sleep(2.0)


# The measuring


@dataclass
class Server:
    """A server's process."""

    process: subprocess.Popen[str]
    url: str
    launches: dict[str, dict[str, Any]] = field(default_factory=dict)  # by job

    def told(self, job: str, what: str) -> dict[str, Any]:
        """What its backend said of a job, when it has said this."""
        until(lambda: what in self.launches.get(job, {}), REAL_SECONDS)
        return self.launches[job]


@contextmanager
def server_of(
    folder: Path, kind: str = "fake", seconds: float = BACKEND_SECONDS
) -> Iterator[Server]:
    command = [sys.executable, "-m", "benchmarks.latency", "--serve", str(folder), "--kind", kind]
    command += ["--seconds", str(seconds)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    server = Server(process, json.loads(process.stdout.readline())["url"])

    def listen(lines: IO[str]) -> None:
        for line in lines:
            said = json.loads(line)
            server.launches.setdefault(said["job"], {}).update(said)

    threading.Thread(target=listen, args=(process.stdout,), daemon=True).start()
    try:
        yield server
    finally:
        process.terminate()
        process.wait(60)


def submit(server: Server, number: int, *more: str) -> tuple[float, str]:
    """When the command was typed, and the job."""
    sets = [f"training.seed={number}", *SHORT, *more]
    words = [word for item in sets for word in ("--set", item)]
    typed = time.time()
    done = run(server.url, "submit", str(SPEC), "--new", "--json", *words)
    return typed, str(json.loads(done)["job"]["id"])


@dataclass(frozen=True, slots=True)
class Start:
    """One job's way to RUNNING, in seconds."""

    command: float
    admission: float  # read, planned, committed, scheduled
    launch: float  # what is written before the backend is called
    notice: float  # from the backend's word to the event
    backend: float

    @property
    def controller(self) -> float:
        return self.admission + self.launch + self.notice

    @property
    def total(self) -> float:
        return self.command + self.controller + self.backend


def start(server: Server, client: Client, number: int) -> tuple[Start, JobHandle]:
    typed, job = submit(server, number)
    handle = client.job(job)
    until(lambda: handle.refresh().state is JobState.RUNNING, REAL_SECONDS)
    said = server.told(job, "running")
    times = {event.state: event for event in reversed(handle.events()) if _is_move(event)}
    created, starting = handle.job.created_at, times[JobState.STARTING].time
    found = Start(
        command=created - typed,
        admission=starting - created,
        launch=said["began"] - starting,
        notice=max(0.0, times[JobState.RUNNING].time - said["running"]),
        backend=said["running"] - said["began"],
    )
    return found, handle


def _is_move(event: Event) -> bool:
    return event.kind == "StateChanged"


def starts(folder: Path, jobs: int) -> list[Start]:
    with server_of(folder) as server, Client(server.url) as client:
        submit(server, 0)  # whatever is loaded at first use
        found = []
        for number in range(1, jobs + 1):
            one, handle = start(server, client, number)
            found.append(one)
            handle.cancel()
        return found


def real_start(folder: Path) -> Start:
    with server_of(folder, "local") as server, Client(server.url) as client:
        _, first = start(server, client, 1)
        assert first.wait().state is JobState.SUCCEEDED, first.job
        found, second = start(server, client, 2)
        second.cancel()
        second.wait()
        return found


def reactions(folder: Path, jobs: int) -> dict[str, list[float]]:
    """What the commands that follow take to tell, and what a request takes that tells nothing."""
    with ExitStack() as stack:
        server = stack.enter_context(server_of(folder, seconds=LONG_SECONDS))
        _, job = submit(server, 0)
        said = server.told(job, "began")
        lines = stack.enter_context(following(server.url, "logs", job, "-f", "--rank", "0"))
        events = stack.enter_context(following(server.url, "events", "-f", "--tail", "0", "--json"))
        screen = stack.enter_context(screen_of(server.url, "top"))
        time.sleep(3.0)  # until all of them are connected
        logs = _logged(said, lines, folder)
        tops = _topped(said, screen)
        for number in range(1, jobs + 1):
            submit(server, number)
        time.sleep(2.0)
        return {
            "nothing, asked and answered": [_nothing(server) for _ in range(TICKS)],
            "event -> events -f": [at - json.loads(line)["time"] for at, line in events],
            "line -> logs -f": logs,
            "step -> top": tops,
        }


def _logged(said: dict[str, Any], lines: list[tuple[float, str]], folder: Path) -> list[float]:
    """What a rank's lines took; the first ones came while the reporter began."""
    environment = {**os.environ, REPORT_TOKEN_VARIABLE: said["token"]}
    command = [sys.executable, "-m", "benchmarks.latency", "--rank", said["path"]]
    with (folder / "stderr").open("w") as stderr:
        subprocess.run(command, env=environment, stderr=stderr, check=True)
    found = [at - float(line.split()[1]) for at, line in lines if line.startswith("tick ")]
    assert len(found) >= TICKS - 1, f"{len(found)} of {TICKS} lines were printed"
    return found


def _topped(said: dict[str, Any], screen: list[tuple[float, str]]) -> list[float]:
    launch = Launch.model_validate_json(read_text(said["path"]))
    found = []
    headers = {"Authorization": f"Bearer {said['token']}"}
    with httpx.Client(headers=headers, trust_env=False) as http:
        for number in range(TICKS):
            step = 5000 + number
            report = Report(
                job=launch.job,
                attempt=launch.attempt,
                rank=0,
                sequence=10_000 + number,
                time=time.time(),
                phase=Phase.TRAIN,
                step=step,
                max_steps=9999,
            )
            assert launch.report_url is not None
            begun = time.time()
            http.post(launch.report_url, content=report.model_dump_json()).raise_for_status()
            shown = f"{step}/9999"
            found.append(until(lambda: _first(screen, shown)) - begun)  # noqa: B023
            time.sleep(TICK_SECONDS)
    return found


def _first(seen: list[tuple[float, str]], text: str) -> float | None:
    return next((at for at, piece in reversed(seen) if text in piece), None)


def _nothing(server: Server) -> float:
    begun = time.time()
    httpx.get(f"{server.url}/healthz", trust_env=False).raise_for_status()
    return time.time() - begun


# Printing


def _row(name: str, values: Sequence[float]) -> str:
    p95 = quantiles(values, n=20, method="inclusive")[-1] if len(values) > 1 else values[0]
    return f"{name:34} {median(values):8.3f} {p95:8.3f} {len(values):6}"


def _print_starts(title: str, found: Sequence[Start]) -> None:
    print(f"\n{title:34} {'median':>8} {'p95':>8} {'n':>6}")
    for name in ("command", "controller", "admission", "launch", "notice", "backend", "total"):
        label = f"  of it {name}" if name in ("admission", "launch", "notice") else name
        label = "backend (the baseline)" if name == "backend" else label
        print(_row(label, [getattr(start, name) for start in found]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=20)
    parser.add_argument("--real", action="store_true", help="also on this machine's Ray")
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--kind", help=argparse.SUPPRESS)
    parser.add_argument("--seconds", type=float, help=argparse.SUPPRESS)
    parser.add_argument("--rank", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve is not None:
        serve(options.serve, options.kind, options.seconds)
        return
    if options.rank is not None:
        rank(options.rank)
        return
    print(f"{os.cpu_count()} cores, {platform.platform()}, Python {platform.python_version()}")
    folder = Path(tempfile.mkdtemp(prefix="lat-", dir="/tmp"))
    try:
        title = f"submit -> RUNNING, {BACKEND_SECONDS / 10} s of backend"
        _print_starts(title, starts(folder / "a", options.jobs))
        print(f"\n{'happened -> told':34} {'median':>8} {'p95':>8} {'n':>6}")
        for name, values in reactions(folder / "b", max(2, options.jobs // 4)).items():
            print(_row(name, values))
        if options.real:
            _print_starts("submit -> RUNNING on a warm Ray", [real_start(folder / "c")])
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
