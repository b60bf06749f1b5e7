"""An Attempt: what the control plane hands to the worker plane, and what comes back."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from orchestrator.records.base import Record
from orchestrator.records.report import Phase
from orchestrator.records.states import JobState, Reason
from orchestrator.specs import FineTune

REPORT_TOKEN_VARIABLE = "ORCHESTRATOR_REPORT_TOKEN"
"""Environment variable of the per-attempt token: secrets are never in a file or an argument."""


class CheckpointRef(Record):
    """A complete checkpoint in the store: `.checkpoints/<job>/a<attempt>/step-<step>/`."""

    attempt: int
    step: int
    world_size: int


class ContinuedRef(CheckpointRef):
    """A complete checkpoint of another job, whose optimizer state a new job begins with."""

    job: str


class Placed(Record):
    """Where a part of a gang is: `workers` of its ranks on one node of one backend."""

    backend: str
    node: str
    workers: int


class Identity(Record):
    """What makes two runs the same run."""

    run: str = Field(description="sha256 over the identity, hex.")
    data: dict[str, str] = Field(description="domain/split -> sha256 of its rows' sources, hex.")
    base: str = Field(
        description="sha256 of the base model's files, hex, or the hub's commit; empty: no base."
    )
    recipe: str = Field(description="Version of the training recipe; a new one trains anew.")
    code: str | None = Field(
        default=None, description="sha256 of the user's code, packed; hex. Its name in the store."
    )


class LaunchHead(Record):
    """What every version of the package understands of a Launch: enough to refuse it."""

    job: str
    attempt: int
    store: str = Field(description="URL of the object store.")
    version: str | None = Field(
        default=None,
        description="Of the package that wrote it; a worker of another version refuses.",
    )


class Launch(LaunchHead):
    """Everything one Attempt needs; the worker's main is started with where it lies.

    Folders are of one host: they are absent where every node has its own.
    """

    spec: FineTune = Field(description="The resolved spec: nothing the worker needs is absent.")
    written: str = Field(description="The spec's text as the user wrote it, for the lineage.")
    identity: Identity
    placement: tuple[Placed, ...] = Field(
        default=(), description="Where the gang belongs; absent: wherever there is room."
    )
    base_path: str | None = Field(
        default=None,
        description="Local folder of the base model; absent: each node brings it there itself.",
    )
    resume: tuple[CheckpointRef, ...] = Field(
        default=(),
        description="Checkpoints to resume from, best first; the next is used if one is damaged.",
    )
    continues: ContinuedRef | None = Field(
        default=None,
        description="What a first Attempt begins with in place of the base's own weights.",
    )
    report_url: str | None = Field(
        default=None, description="Where Reports are posted; absent: nowhere."
    )
    cache: str | None = Field(
        default=None,
        description="Local folder for copies of what the store and hubs hold; absent: the node's.",
    )
    scratch: str | None = Field(
        default=None,
        description="Local folder for what may be lost; absent: one that the node removes again.",
    )
    submitted_at: float = Field(description="Seconds since the epoch.")
    seconds: dict[Phase, float] = Field(default_factory=dict, description="Phases already spent.")
    git_commit: str | None = None


class SelectionOutcome(Record):
    """Which weights were published and why."""

    metric: str | None = None
    mode: str | None = None
    value: float | None = None
    step: int | None = None
    last: bool = False


class GateResult(Record):
    """One gate of the spec, and whether what was published meets it on valid."""

    metric: str = Field(description="domain/metric; of forgetting the domain that lost most.")
    at_least: float | None = None
    at_most: float | None = None
    forgetting_at_most: float | None = None
    value: float = Field(description="On valid; of forgetting how much worse than the start.")
    passed: bool

    @property
    def text(self) -> str:
        """`movie/macro_f1 0.712, at least 0.7: passed`."""
        verdict = "passed" if self.passed else "failed"
        if self.forgetting_at_most is not None:
            lost = f"{self.metric} lost {self.value:.4f} of the start"
            return f"{lost}, at most {self.forgetting_at_most:g}: {verdict}"
        bound = f"at least {self.at_least:g}" if self.at_least is not None else ""
        bound = bound or f"at most {self.at_most:g}"
        return f"{self.metric} {self.value:.4f}, {bound}: {verdict}"


class Outcome(Record):
    """How an Attempt ended; `outcome.json` in the store is the truth, a Report only a hint."""

    job: str
    attempt: int
    state: JobState
    reason: Reason
    message: str | None = None
    hint: str | None = None
    resumed_from_step: int | None = None
    step: int | None = Field(default=None, description="Last optimizer step taken.")
    checkpoint_step: int | None = Field(default=None, description="Newest complete checkpoint.")
    model: str | None = Field(default=None, description="name@N")
    url: str | None = None
    metrics: dict[str, dict[str, Any]] = Field(
        default_factory=dict, description="domain -> metrics on test."
    )
    before: dict[str, dict[str, Any]] = Field(default_factory=dict)
    selection: SelectionOutcome | None = None
    gates: tuple[GateResult, ...] = Field(default=(), description="In the order of the spec.")
    promoted: bool | None = Field(
        default=None, description="Whether all gates are passed; absent: there are none."
    )
    seconds: dict[Phase, float] = Field(default_factory=dict)
    rank: int | None = Field(default=None, description="The first rank that failed.")
