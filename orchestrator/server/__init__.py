"""The composition root: the one place that wires looking, planning, controller and Ray together.

`plan`, `run` and `serve` are what the command line calls. Settings, listener and stop signal are
arguments; everything else is made here. What wires the most (rows, HTTP) is imported when it is
asked for: a plan needs neither.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.control.admission.option_records import HardwarePlan
from orchestrator.control.admission.plan import Plan
from orchestrator.control.controller.look import look
from orchestrator.control.controller.stopping import StopSignal
from orchestrator.records import Outcome
from orchestrator.server.asked import Asked, Extent, RunListener
from orchestrator.settings import Settings

if TYPE_CHECKING:
    from orchestrator.server.rehearsal import Rehearsed

__all__ = [
    "HardwarePlan",
    "Plan",
    "Ready",
    "RunListener",
    "StopSignal",
    "end_local",
    "plan",
    "plan_elsewhere",
    "rehearse",
    "run",
    "serve",
]


@dataclass(frozen=True, slots=True)
class Ready:
    """What a server that is up says of itself."""

    url: str  # of its API
    database: str  # address of its rows, without the password
    backends: Mapping[str, str]  # name -> kind
    asks_who: bool  # whether a token is needed
    has_token: bool  # whether there is one of its own that is good
    issuer: str | None  # whose tokens are taken too


def plan(source: Path, sets: Sequence[str] = (), *, settings: Settings) -> Plan:
    """What the job needs and whether it fits; starts and creates nothing.

    Raises InvalidInput with everything that is wrong with spec, data and base.
    """
    os.environ.update(settings.store_environment())
    return look(source, sets, settings, probe_store=False).plan


def plan_elsewhere(
    source: Path, sets: Sequence[str] = (), *, hardware: Sequence[str], settings: Settings
) -> HardwarePlan:
    """Every way to run the job on hardware that need not be here, such as `8xH100`.

    Raises:
        UserError: An expression of `hardware` is wrong, or the job cannot be planned for.
        InvalidInput: Spec, data or base are wrong.
    """
    from orchestrator.server import elsewhere

    os.environ.update(settings.store_environment())
    return elsewhere.plan_elsewhere(source, sets, hardware, settings)


def run(
    source: Path,
    sets: Sequence[str] = (),
    *,
    settings: Settings,
    listener: RunListener,
    stop: StopSignal,
    new: bool = False,
) -> Outcome:
    """Trains, evaluates and publishes; returns when it has ended, with nothing left behind.

    Args:
        source: The spec's file.
        sets: Overrides, `path=value`.
        settings: The operator's.
        listener: Told what happens.
        stop: Asks for an early end; may be requested from a signal handler.
        new: Train again, even if this run is finished or begun.

    Raises:
        InvalidInput: Spec, data or base are wrong, or do not fit what was begun.
        PlanRefused: The job does not fit this machine.
        AlreadyRunning: The same run is live.
        StoreError: The store cannot be used.
    """
    from orchestrator.server.one_shot import run_once

    return run_once(Asked(source, sets, new), settings, listener, stop)


def rehearse(
    source: Path,
    sets: Sequence[str] = (),
    *,
    settings: Settings,
    listener: RunListener,
    stop: StopSignal,
    extent: Extent,
) -> Rehearsed:
    """Takes a few steps over the job's longest rows, as `run` would; leaves nothing behind.

    Args:
        source: The spec's file.
        sets: Overrides, `path=value`.
        settings: The operator's.
        listener: Told what happens.
        stop: Asks for an early end.
        extent: How much of the job.

    Raises:
        InvalidInput: Spec, data or base are wrong.
        PlanRefused: Not even the rehearsal fits this machine.
    """
    from orchestrator.server import rehearsal

    os.environ.update(settings.store_environment())
    asked = Asked(source, sets, new=True)
    return rehearsal.rehearse(asked, settings, listener, stop, extent)


def serve(
    settings: Settings,
    host: str | None = None,
    port: int | None = None,
    *,
    stop: threading.Event,
    ready: Callable[[Ready], None] = lambda ready: None,
) -> None:
    """Serves until `stop` is set; what runs on the backends goes on.

    Args:
        settings: The operator's.
        host: Address the API binds; absent: the setting's.
        port: Its port, 0 for any that is free; absent: the setting's.
        stop: Ends it; by another thread, since setting it takes a lock.
        ready: Called once it answers.

    Raises:
        SettingsError: An address, a backend or the database cannot be used as they are set.
        DatabaseUnavailable: The database does not answer.
    """
    from orchestrator.control.backends.configured import build_backends
    from orchestrator.server.service import serving
    from orchestrator.server.tokens import has_token

    bound = settings.api_host if host is None else host
    number = settings.api_port if port is None else port
    with serving(settings, build_backends(settings), host=bound, port=number) as served:
        ready(
            Ready(
                served.url,
                served.database.where,
                {name: table.kind for name, table in settings.backends.items()},
                asks_who=settings.authentication == "tokens",
                has_token=has_token(served.database, time.time()),
                issuer=settings.oidc_issuer,
            )
        )
        stop.wait()


def end_local(settings: Settings) -> list[str]:
    """Ends what servers have left on this machine: Ray, and the jobs that run there.

    Returns:
        Names of the backends of which something was there.
    """
    from orchestrator.control.backends.configured import build_backends
    from orchestrator.control.backends.local_served import ServedLocalBackend

    return [
        name
        for name, backend in build_backends(settings).items()
        if isinstance(backend, ServedLocalBackend) and backend.end()
    ]
