"""`orchestrator serve`: API and controller in one process, for as long as nobody stops it.

Several may serve one database: each answers requests, one of them decides. What runs on the
backends goes on when a server dies, and is adopted by the next one.
"""

from __future__ import annotations

import logging
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from orchestrator.control.backends.base import Backend, NodeInfo
from orchestrator.control.backends.local import EmbeddedBackend
from orchestrator.control.controller.acts import HostFolders, Workplace
from orchestrator.control.controller.effects import ThreadedEffects
from orchestrator.control.controller.logs import LiveLogs, LogReader
from orchestrator.control.controller.loop import Controller, Means, Rows
from orchestrator.control.controller.metered import MeteredController
from orchestrator.control.controller.reports import ReportDesk
from orchestrator.control.controller.secrets import Secrets
from orchestrator.control.store import Database
from orchestrator.interfaces.api.app import create_app
from orchestrator.interfaces.api.receiving import sweep
from orchestrator.interfaces.api.reports import REPORTS_PATH
from orchestrator.interfaces.api.service import Service, cluster_hardware
from orchestrator.interfaces.api.serving import ApiServer
from orchestrator.records import Job, JobDocuments
from orchestrator.server.reaching import report_base
from orchestrator.settings import Settings
from orchestrator.storage.bases import BasePlaces, fetch_base, resolve_base
from orchestrator.storage.objectstore import ObjectStore, open_store
from orchestrator.telemetry.metrics import Metrics

logger = logging.getLogger(__name__)

STOP_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Serving:
    """A server that is up."""

    url: str
    controller: Controller
    rows: Rows
    database: Database


@contextmanager
def serving(
    settings: Settings, backends: Mapping[str, Backend], *, host: str, port: int
) -> Iterator[Serving]:
    """Serves within the block.

    Args:
        settings: The operator's.
        backends: Where Attempts run, by name; closed at the end, leaving what runs there.
        host: Address the API binds.
        port: Its port; 0: any that is free.

    Raises:
        SettingsError: The address or the database cannot be used.
        DatabaseUnavailable: The database does not answer.
    """
    os.environ.update(settings.store_environment())
    sweep(settings.state_dir / "uploads")
    with ExitStack() as stack:
        database = Database.open(settings.database_url)
        stack.callback(database.close)
        rows = Rows.of(database)
        logs = LiveLogs(settings.state_dir / "logs" / "live")
        store = _stores(settings)
        wake, metrics = threading.Event(), Metrics()
        seen: dict[str, tuple[NodeInfo, ...]] = {}  # the controller's, shown by the API
        service = Service.of(
            database,
            settings,
            desk=ReportDesk(rows.attempts, time.time, logs),
            logs=LogReader(logs, backends, store),
            host=host,
            wake=wake.set,
            nodes=lambda: seen,
            hardware=None if _runs_here(backends) else cluster_hardware(lambda: seen),
            metrics=metrics,
        )
        api = ApiServer(create_app(service), host, port)
        means = _means(settings, backends, rows, store, api.url, wake)
        controller = MeteredController(
            rows, means, _holder(), wake=wake, nodes=seen, metrics=metrics
        )
        stop = threading.Event()
        thread = threading.Thread(target=controller.run, args=(stop,), name="controller")
        stack.enter_context(api)
        thread.start()
        stack.callback(_stop, controller, stop, thread, backends)
        yield Serving(api.url, controller, rows, database)


def _means(
    settings: Settings,
    backends: Mapping[str, Backend],
    rows: Rows,
    store: Callable[[str], ObjectStore],
    url: str,
    wake: threading.Event,
) -> Means:
    place = Workplace(
        backends=backends,
        store=store,
        documents=rows.jobs.documents,
        report_url=f"{report_base(settings, url)}{REPORTS_PATH}",
        logs=settings.state_dir / "logs",
        folders=_host_folders(settings, backends),
        go_on=_go_on,
        seconds={},
        secrets=Secrets.of(settings),
    )
    return Means(place, ThreadedEffects(wake.set))


def _stop(
    controller: Controller,
    stop: threading.Event,
    thread: threading.Thread,
    backends: Mapping[str, Backend],
) -> None:
    """What runs goes on: the next server adopts it."""
    stop.set()
    controller.wake.set()
    thread.join(STOP_SECONDS)
    for backend in backends.values():
        backend.close(keep=True)


def _stores(settings: Settings) -> Callable[[str], ObjectStore]:
    """Stores by URL, opened once."""
    opened: dict[str, ObjectStore] = {}

    def store(url: str) -> ObjectStore:
        if url not in opened:
            opened[url] = open_store(url, retry_seconds=settings.store_retry_seconds)
        return opened[url]

    return store


def _runs_here(backends: Mapping[str, Backend]) -> bool:
    return any(isinstance(backend, EmbeddedBackend) for backend in backends.values())


def _host_folders(settings: Settings, backends: Mapping[str, Backend]) -> dict[str, HostFolders]:
    """Of the backends whose Attempts run on this host."""

    def base(documents: JobDocuments) -> Path | None:
        store = documents.spec.spec.output.store or settings.store
        places = BasePlaces(settings.state_dir, settings.cache_dir, open_store(store))
        model = documents.spec.spec.model
        if model is None or model.fresh is not None:
            return None  # workers make what is fresh, of the same rows
        return fetch_base(resolve_base(model, places))

    folders = HostFolders(None, settings.cache_dir, base)
    return {name: folders for name, b in backends.items() if isinstance(b, EmbeddedBackend)}


def _go_on(job: Job) -> str:
    return f"orchestrator retry {job.id}"


def _holder() -> str:
    """Differs between processes, also those of one host."""
    return f"{socket.gethostname()}/{os.getpid()}/{secrets.token_hex(4)}"
