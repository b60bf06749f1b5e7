"""The server's verbs as methods. See docs/api.md."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

import httpx

from orchestrator.errors import NotFound, OrchestratorError
from orchestrator.inspect.commit import commit_of
from orchestrator.interfaces.client.connection import Connection
from orchestrator.interfaces.client.faults import localized
from orchestrator.interfaces.client.handle import JobHandle, check_name
from orchestrator.interfaces.client.login import find_login
from orchestrator.interfaces.client.paging import all_pages
from orchestrator.interfaces.client.sending import Sent, Told, send
from orchestrator.interfaces.client.watching import (
    PATIENCE_SECONDS,
    Follower,
    Listener,
    Update,
)
from orchestrator.interfaces.wire import (
    IDEMPOTENCY_KEY,
    AliasRequest,
    Deleted,
    JobView,
    ModelView,
    NewToken,
    NodeView,
    Overview,
    Page,
    PlanRequest,
    QueueRequest,
    QueueView,
    SubmitAnswer,
    SubmitRequest,
    TokenRequest,
    VersionDetail,
)
from orchestrator.records import AccessToken, AuditEntry, Event, JobState, Principal, Role
from orchestrator.records.ids import is_job_id
from orchestrator.specs import FineTune

if TYPE_CHECKING:
    from orchestrator.control.admission.records import Plan

T = TypeVar("T")
Spec = Path | str | Mapping[str, Any] | FineTune
"""A file, its text, or what it would hold."""

OVERVIEW_JOBS = 50


class Client:
    """A server, as one user. Use as a context manager, or `close` it."""

    def __init__(
        self,
        url: str | None = None,
        token: str | None = None,
        *,
        timeout_seconds: float = 120.0,
        transport: httpx.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """
        Args:
            url: Of the server; absent: $ORCHESTRATOR_URL, else that of `orchestrator login`.
            token: Absent: $ORCHESTRATOR_TOKEN, else that of `orchestrator login`.
            timeout_seconds: How long an answer may take.
            transport: In place of the network.
            sleep: Between tries.
        """
        login = find_login(url, token)
        self.connection = Connection(
            login, timeout_seconds=timeout_seconds, transport=transport, sleep=sleep
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        self.connection.close()

    # Jobs

    def submit(
        self,
        spec: Spec,
        sets: Sequence[str] = (),
        *,
        new: bool = False,
        idempotency_key: str | None = None,
        on_upload: Told = lambda name, size: None,
    ) -> JobHandle:
        """Queues the job of a spec. Local data, code and a local base are uploaded first.

        Args:
            spec: A file (a Path, or a str without line breaks), or what it would hold.
            sets: Overrides, `path=value`.
            new: Train again what is trained or queued already.
            idempotency_key: The same one gives the same job; absent: one for this call.
            on_upload: Told path and size of each file that is sent.

        Raises:
            InvalidInput: With everything that is wrong, in terms of the spec's file.
            Conflict: A live job does the same.
        """
        source = _source(spec)
        sent = send(source, sets, self.connection, on_upload)
        asked = SubmitRequest.of(
            spec=sent.text,
            sets=sent.sets,
            new=new,
            git_commit=commit_of(source.parent) if isinstance(source, Path) else None,
        )
        key = {IDEMPOTENCY_KEY: idempotency_key or uuid.uuid4().hex}
        answer = self._told(
            sent, lambda: self.connection.post("/jobs", SubmitAnswer, asked, headers=key)
        )
        return JobHandle.of_answer(self.connection, answer)

    def plan(
        self, spec: Spec, sets: Sequence[str] = (), *, on_upload: Told = lambda name, size: None
    ) -> Plan:
        """What a spec would need there; only its data are uploaded."""
        from orchestrator.control.admission.records import Plan

        sent = send(_source(spec), sets, self.connection, on_upload)
        asked = PlanRequest.of(spec=sent.text, sets=sent.sets)
        return self._told(sent, lambda: self.connection.post("/plan", Plan, asked))

    def jobs(
        self,
        *,
        states: Collection[JobState] = (),
        labels: Mapping[str, str] | None = None,
        limit: int | None = None,
        **exact: str | None,
    ) -> list[JobView]:
        """The newest first; `exact` are team, queue, name and created_by."""
        query = {
            "state": [str(state) for state in states],
            "label": [f"{key}={value}" for key, value in (labels or {}).items()],
            **exact,
        }
        found = all_pages(self.connection, "/jobs", JobView, **query)
        return list(islice(found, limit))

    def job(self, id: str) -> JobHandle:
        """A job by its id, or the newest of that name."""
        if is_job_id(id):
            return JobHandle(self.connection, self.connection.get(f"/jobs/{id}", JobView))
        named = self.connection.get("/jobs", Page[JobView], name=check_name(id), limit=1)
        if not named.items:
            raise NotFound(f"there is no job {id}", hint="`orchestrator jobs` lists them")
        return JobHandle(self.connection, named.items[0])

    def events(self, *, after: int | None = None, last: int | None = None) -> list[Event]:
        """What has happened to the team's jobs, the oldest first.

        Args:
            after: Only what came after the event of this id.
            last: Only so many, the newest.
        """
        return list(all_pages(self.connection, "/events", Event, after=after, last=last))

    def follow(
        self, *, last: int | None = None, listener: Listener | None = None
    ) -> Iterator[Update]:
        """What happens to the team's jobs from now on, without end.

        Args:
            last: Begin with so many events that have happened already.
            listener: Told of a server that is away.
        """
        follower = Follower(
            self.connection, "/events", query={"last": last}, listener=listener or Listener()
        )
        return follower.updates()

    # The cluster

    def queues(self) -> list[QueueView]:
        return self.connection.get("/queues", list[QueueView])

    def put_queue(self, name: str, queue: QueueRequest) -> QueueView:
        """Creates or replaces it."""
        return self.connection.put(f"/queues/{check_name(name)}", QueueView, queue)

    def delete_queue(self, name: str) -> None:
        self.connection.delete(f"/queues/{check_name(name)}", Deleted)

    def nodes(self) -> list[NodeView]:
        return self.connection.get("/nodes", list[NodeView])

    def overview(self, *, limit: int = OVERVIEW_JOBS, team: str | None = None) -> Overview:
        """What runs, who waits and why, and what is used, at this moment.

        Args:
            limit: Jobs that run, and jobs that wait.
            team: Of others: admins only; absent: one's own, for admins all.
        """
        return self.connection.get("/overview", Overview, limit=limit, team=team)

    def follow_overview(
        self,
        *,
        limit: int = OVERVIEW_JOBS,
        team: str | None = None,
        listener: Listener | None = None,
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> Iterator[Overview]:
        """`overview` each time it has changed, without end."""
        follower = Follower(
            self.connection,
            "/overview",
            query={"limit": limit, "team": team},
            listener=listener or Listener(),
            patience_seconds=patience_seconds,
        )
        return follower.overviews()

    # Models

    def models(self) -> list[ModelView]:
        return self.connection.get("/models", list[ModelView])

    def model(self, name: str, version: int | str = "latest") -> VersionDetail:
        """A version by its number or an alias."""
        path = f"/models/{check_name(name)}/versions/{check_name(str(version))}"
        return self.connection.get(path, VersionDetail)

    def set_alias(self, name: str, alias: str, version: int) -> dict[str, int]:
        """Points an alias at a version; all aliases of the model."""
        path = f"/models/{check_name(name)}/aliases/{check_name(alias)}"
        return self.connection.put(path, dict[str, int], AliasRequest.of(version=version))

    def remove_alias(self, name: str, alias: str) -> dict[str, int]:
        path = f"/models/{check_name(name)}/aliases/{check_name(alias)}"
        return self.connection.delete(path, dict[str, int])

    # Who asks

    def whoami(self) -> Principal:
        return self.connection.get("/whoami", Principal)

    def tokens(self, team: str | None = None) -> list[AccessToken]:
        return self.connection.get("/tokens", list[AccessToken], team=team)

    def create_token(
        self, name: str, team: str, role: Role, expires_in_seconds: float | None = None
    ) -> NewToken:
        """A token with its secret, which is told this once."""
        asked = TokenRequest.of(
            name=name, team=team, role=role, expires_in_seconds=expires_in_seconds
        )
        return self.connection.post("/tokens", NewToken, asked, retry=False)

    def revoke_token(self, id: str) -> None:
        self.connection.delete(f"/tokens/{check_name(id)}", Deleted)

    def audit(self, team: str | None = None, limit: int | None = None) -> list[AuditEntry]:
        """Who asked for what, the newest first."""
        return list(islice(all_pages(self.connection, "/audit", AuditEntry, team=team), limit))

    @staticmethod
    def _told(sent: Sent, ask: Callable[[], T]) -> T:
        try:
            return ask()
        except OrchestratorError as error:
            raise localized(error, sent.localize) from None


def _source(spec: Spec) -> Path | str:
    """A file, or text."""
    if isinstance(spec, FineTune):
        return spec.model_dump_json(exclude_none=True)
    if isinstance(spec, Mapping):
        return json.dumps(spec)
    if isinstance(spec, str) and "\n" not in spec and not spec.lstrip().startswith("{"):
        return Path(spec)
    return spec
