"""What the HTTP API and its client say to each other, beyond the records themselves.

Answers ignore fields they do not know, so that an older client understands a newer server;
requests are closed, so that a misspelt field is told.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated, Any, Generic, Self, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
)

from orchestrator.errors import InvalidInput
from orchestrator.records import (
    AccessToken,
    Event,
    Identity,
    Job,
    Placed,
    Point,
    Queue,
    Role,
    Wait,
)
from orchestrator.specs import FineTune
from orchestrator.specs.base import DnsLabel, SpecError
from orchestrator.specs.explain import as_problem, findings

API = "/api/v1"
PROBLEM_TYPE = "application/problem+json"
FOLDER_TYPE = "application/vnd.orchestrator.folder+json"
"""Of the list of files that makes a folder of uploads."""

EVENT_STREAM = "text/event-stream"
METRICS_PATH = "/metrics"
IDEMPOTENCY_KEY = "Idempotency-Key"
MAX_SPEC_CHARACTERS = 1_000_000

Item = TypeVar("Item")
Override = Annotated[str, StringConstraints(max_length=10_000)]


def _resource(name: Any) -> Any:
    if isinstance(name, str) and not re.match(RESOURCE_PATTERN, name):
        raise SpecError(f"no resource is called {name!r}", hint="cpu, memory_bytes, gpu, gpu/KIND")
    return name


RESOURCE_PATTERN = r"^(cpu|memory_bytes|gpu(/[^\s/]+)?)$"
Resource = Annotated[str, StringConstraints(pattern=RESOURCE_PATTERN), BeforeValidator(_resource)]
"""What a quota may limit; a name that nothing is counted by would limit nothing."""


class Answer(BaseModel):
    """What the server says."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class Asked(BaseModel):
    """What a client sends."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @classmethod
    def of(cls, **fields: Any) -> Self:
        """The request of these fields; raises InvalidInput, as the server would say it."""
        try:
            return cls(**fields)
        except ValidationError as error:
            found = findings(error, fields, {})
            raise InvalidInput([as_problem(finding, {}, None) for finding in found]) from None


class ProblemDetail(Answer):
    """One thing wrong with what was sent."""

    message: str
    path: str | None = Field(default=None, description="Field of the spec or of the request.")
    hint: str | None = Field(default=None, description="What to write or do instead.")
    file: str | None = None
    line: int | None = Field(default=None, description="1-based line of `file`.")


class ProblemDocument(Answer):
    """An error, as RFC 9457 has it, with all that is wrong."""

    type: str = Field(description="urn:orchestrator:problem:<kind>; the kind is the error's class.")
    title: str
    status: int
    detail: str
    hint: str | None = None
    problems: tuple[ProblemDetail, ...] = ()


class Page(Answer, Generic[Item]):
    """Some of many, and where the others are."""

    items: tuple[Item, ...]
    next: str | None = Field(default=None, description="Cursor of the next page; absent: no more.")


class Progress(Answer):
    """How far the newest Attempt is, by its Reports."""

    attempt: int
    phase: str | None = None
    step: int | None = None
    max_steps: int | None = None
    metrics: dict[str, float] = Field(default_factory=dict)
    checkpoint_step: int | None = None
    placement: tuple[Placed, ...] = Field(default=(), description="Where the gang is.")
    created_at: float | None = None
    running_at: float | None = None
    reported_at: float | None = None


class Waiting(Answer):
    """Why a job is not running; a message of its stream."""

    waits: tuple[Wait, ...]


class JobView(Job):
    """A job and how far it is."""

    progress: Progress | None = Field(default=None, description="Absent: no Attempt yet.")


class SubmitRequest(Asked):
    """A spec to be queued."""

    spec: str = Field(min_length=1, max_length=MAX_SPEC_CHARACTERS, description="YAML or JSON.")
    sets: tuple[Override, ...] = Field(
        default=(), max_length=20_000, description="Overrides, path=value."
    )
    new: bool = Field(default=False, description="Train again what is trained or queued already.")
    git_commit: str | None = Field(
        default=None, max_length=100, description="Of the folder the spec lies in."
    )


class PlanRequest(Asked):
    """A spec to be planned; nothing is created."""

    spec: str = Field(min_length=1, max_length=MAX_SPEC_CHARACTERS, description="YAML or JSON.")
    sets: tuple[Override, ...] = Field(
        default=(), max_length=20_000, description="Overrides, path=value."
    )


class SubmitAnswer(Answer):
    """The job of a submission."""

    job: Job
    is_new: bool = Field(description="False: a job that did the same before.")
    message: str = ""


class ResumeRequest(Asked):
    """How a suspended job goes on."""

    sets: tuple[Override, ...] = Field(
        default=(), max_length=1_000, description="Overrides of `engine` and `resources`."
    )


class SpecView(Answer):
    """What a job was submitted with."""

    job: str
    written: str = Field(description="The spec's text as the user wrote it.")
    sets: tuple[str, ...]
    spec: FineTune = Field(description="The resolved spec.")
    identity: Identity
    git_commit: str | None = None


class History(Answer):
    """Curves of one Attempt."""

    attempt: int
    points: tuple[Point, ...]


class Stacks(Answer):
    """Stacks of an Attempt's ranks, as far as they have arrived."""

    attempt: int
    workers: int
    ranks: dict[int, str] = Field(description="rank -> the stacks of all its threads.")


class Deleted(Answer):
    """What was deleted."""

    id: str
    message: str = ""


class QueueRequest(Asked):
    """A queue as it shall be."""

    quota: dict[Resource, Annotated[float, Field(ge=0)]] = Field(
        default_factory=dict,
        description="cpu, memory_bytes, gpu or gpu/KIND -> amount; what is absent is not limited.",
    )
    weights: dict[str, Annotated[float, Field(gt=0)]] = Field(
        default_factory=dict, description="team -> share of the queue; absent: 1."
    )
    teams: tuple[DnsLabel, ...] = Field(default=(), description="Who may submit; empty: everyone.")
    is_paused: bool = Field(default=False, description="Admits nothing; what runs goes on.")
    allows_preemption: bool = True


class QueueView(Queue):
    """A queue, and how many jobs of those one may see are in it."""

    waiting: int = 0
    running: int = 0
    used: dict[str, float] = Field(
        default_factory=dict,
        description="resource -> what its jobs, those of other teams too, hold; as in `quota`.",
    )


class NodeView(Answer):
    """A machine of the cluster, and what jobs hold of it."""

    backend: str
    name: str
    cpus: float
    gpus: int = 0
    memory_bytes: int = 0
    accelerator: str | None = None
    labels: dict[str, str] = Field(default_factory=dict)
    is_alive: bool = True
    used_cpus: float = 0.0
    used_gpus: int = 0
    used_memory_bytes: int = 0


class WaitingView(JobView):
    """A job in its queue."""

    position: int | None = Field(
        default=None,
        description="Its place in the line of its queue, from 1; absent: it stands in no line.",
    )


class Overview(Answer):
    """The cluster at one moment: what runs, who waits and why, and what is used."""

    time: float = Field(description="Seconds since the epoch.")
    team: str | None = Field(description="Whose jobs are shown; absent: those of all teams.")
    queues: tuple[QueueView, ...]
    nodes: tuple[NodeView, ...]
    running: tuple[JobView, ...] = Field(description="Those that hold a place, the oldest first.")
    waiting: tuple[WaitingView, ...] = Field(description="By queue, those in line first.")
    suspended: int = Field(description="How many jobs are suspended.")
    num_running: int = Field(description="Also those that the limit leaves out of `running`.")
    num_waiting: int = Field(description="Also those that the limit leaves out of `waiting`.")


class FileView(Answer):
    path: str
    size_bytes: int
    sha256: str


class VersionView(Answer):
    """A published version of a model."""

    name: str
    version: int
    url: str
    job: str = Field(description="That published it.")
    created_at: datetime
    size_bytes: int
    files: tuple[FileView, ...]


class ModelView(Answer):
    """A model of the team's store."""

    name: str
    latest: int
    aliases: dict[str, int]
    versions: tuple[VersionView, ...]


class VersionDetail(VersionView):
    """A version with what was measured, and what it came from."""

    aliases: tuple[str, ...]
    metrics: dict[str, Any]
    lineage: dict[str, Any]


class AliasRequest(Asked):
    version: int = Field(ge=1, le=2**31)


class TokenRequest(Asked):
    """A token to be made."""

    name: str = Field(min_length=1, max_length=100, description="Who will hold it.")
    team: DnsLabel
    role: Role
    expires_in_seconds: float | None = Field(default=None, gt=0, le=1e10)


class NewToken(Answer):
    """A token, and its secret, which is shown this once."""

    token: AccessToken
    secret: str


class Upload(Answer):
    """What was handed over: `upload://<sha256>/<name>` in a spec."""

    url: str


class End(Answer):
    """The last message of a followed job."""

    job: Job


EventPage = Page[Event]
