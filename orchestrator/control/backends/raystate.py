"""Ray's state API over HTTP: which nodes a cluster has, and the log files that lie on them.

Called by backends on a Ray they do not own; shares its HTTP client with `rayjobs`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import httpx

from orchestrator.control.backends.base import NodeInfo
from orchestrator.control.backends.rayjobs import told
from orchestrator.errors import BackendUnavailable

MAX_NODES = 10_000  # the most Ray lists at once; 100 unless it is told
MAX_LOG_LINES = 20_000
_ACCELERATOR = "accelerator_type:"  # prefix of the resource that names a node's GPUs
_ACCELERATOR_LABEL = "ray.io/accelerator-type"

Row = Mapping[str, Any]
"""A node as Ray tells it."""


def read_nodes(http: httpx.Client) -> list[Row]:
    """Every node, dead ones of a while too. Raises BackendUnavailable."""
    try:
        answer = http.get("/api/v0/nodes", params={"limit": MAX_NODES})
    except httpx.HTTPError as error:
        raise BackendUnavailable(f"{http.base_url}: {type(error).__name__}: {error}") from None
    if not answer.is_success:
        denied = answer.status_code in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN)
        hint = "the variable that token_env names must hold the cluster's token" if denied else None
        raise BackendUnavailable(f"{http.base_url}: {told(answer)}", hint=hint)
    return _rows(answer, http)


def node_infos(rows: Iterable[Row]) -> tuple[NodeInfo, ...]:
    """Nodes under names that survive a restart of their Ray, the dead ones that did not come back.

    A node is called by its name (its address, unless `ray start` was given one), and by Ray's id
    where two living nodes share a name.
    """
    rows = list(rows)
    alive = [row for row in rows if row["state"] == "ALIVE"]
    count = Counter(str(row["node_name"]) for row in alive)
    names = {
        str(row["node_id"]): str(
            row["node_name"] if count[row["node_name"]] == 1 else row["node_id"]
        )
        for row in alive
    }
    dead = {str(row["node_name"]): row for row in rows if row["state"] != "ALIVE"}
    return (
        *(_node(row, names[str(row["node_id"])], is_alive=True) for row in alive),
        *(_node(row, name, is_alive=False) for name, row in dead.items() if name not in count),
    )


def keep_node_logs(http: httpx.Client, patterns: Iterable[str], folder: Path) -> bool:
    """Copies log files of every living node to a new folder, a folder a node; false for none.

    What cannot be had is left out: a node may go in between.
    """
    patterns, found = list(patterns), False
    try:
        rows = [row for row in read_nodes(http) if row["state"] == "ALIVE"]
    except BackendUnavailable:
        return False
    for row in rows:
        for name in _log_files(http, str(row["node_id"]), patterns):
            text = _log(http, str(row["node_id"]), name)
            if text:
                target = folder / _file_name(str(row["node_name"]))
                target.mkdir(parents=True, exist_ok=True, mode=0o700)
                (target / _file_name(name)).write_bytes(text)
                found = True
    return found


def _rows(answer: httpx.Response, http: httpx.Client) -> list[Row]:
    try:
        found = answer.json()["data"]["result"]["result"]
    except (ValueError, KeyError, TypeError):
        raise BackendUnavailable(f"{http.base_url} did not answer as a Ray cluster does") from None
    return [row for row in found if isinstance(row, dict)]


def _node(row: Row, name: str, *, is_alive: bool) -> NodeInfo:
    total: Mapping[str, float] = row.get("resources_total") or {}
    labels = {str(key): str(value) for key, value in (row.get("labels") or {}).items()}
    kinds = [key.removeprefix(_ACCELERATOR) for key in total if key.startswith(_ACCELERATOR)]
    return NodeInfo(
        name=name,
        cpus=float(total.get("CPU", 0)),
        gpus=int(total.get("GPU", 0)),
        memory_bytes=int(total.get("memory", 0)),
        accelerator=labels.get(_ACCELERATOR_LABEL) or (kinds[0] if kinds else None),
        labels=labels,
        is_alive=is_alive,
    )


def _log_files(http: httpx.Client, node_id: str, patterns: list[str]) -> list[str]:
    names: set[str] = set()
    for pattern in patterns:
        try:
            answer = http.get("/api/v0/logs", params={"node_id": node_id, "glob": pattern})
            answer.raise_for_status()
            by_component = answer.json()["data"]["result"]
        except (httpx.HTTPError, ValueError, KeyError, TypeError):
            continue
        names |= {str(name) for files in by_component.values() for name in files}
    return sorted(names)


def _log(http: httpx.Client, node_id: str, name: str) -> bytes:
    """The end of a log file; empty where it cannot be had."""
    wanted: dict[str, str | int] = {"node_id": node_id, "filename": name, "lines": MAX_LOG_LINES}
    try:
        answer = http.get("/api/v0/logs/file", params=wanted)
        answer.raise_for_status()
    except httpx.HTTPError:
        return b""
    return answer.content


def _file_name(text: str) -> str:
    """What a cluster calls a file must not lead out of our folder."""
    return re.sub(r"[^\w.-]", "_", text).lstrip(".") or "unnamed"
