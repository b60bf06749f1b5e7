"""What workers and the control plane say to each other.

Reports go up as fast hints; Directives come back as their answers. Nothing that must not be lost
travels only here: the object store has it too.
"""

from __future__ import annotations

from enum import StrEnum

from pydantic import ConfigDict, Field

from orchestrator.records.base import Record


class Phase(StrEnum):
    """Where an Attempt is; also the keys of `seconds` in an Outcome, in this order."""

    PLAN = "plan"
    LAUNCH = "launch"  # the cluster and the job's driver come up
    IMPORT = "import"  # the gang forms and imports its libraries
    LOAD = "load"  # data and base model
    EVALUATE_BEFORE = "evaluate_before"
    TRAIN = "train"
    EVALUATE = "evaluate"
    ADAPT = "adapt"  # k-shot curves on held-out domains
    PUBLISH = "publish"


class Report(Record):
    """A progress message of one rank. `sequence` grows by one within (attempt, rank)."""

    # JSON has no NaN: as text it survives the way, as null it would be no Report at all.
    model_config = ConfigDict(ser_json_inf_nan="strings")

    job: str
    attempt: int
    rank: int = Field(ge=0)
    sequence: int
    time: float = Field(description="Seconds since the epoch on the worker's clock.")
    phase: Phase
    step: int | None = None
    max_steps: int | None = None
    epoch: float | None = None
    metrics: dict[str, float] = Field(
        default_factory=dict,
        description=(
            "loss, grad_norm, learning_rate, samples_per_second, tokens_per_second, "
            "mfu, <domain>/<metric> …"
        ),
    )
    peak_memory_bytes: int | None = Field(
        default=None,
        description="Most memory the rank held in this phase: of its GPU, else of the host.",
    )
    checkpoint_step: int | None = Field(default=None, description="Newest step committed so far.")
    message: str | None = Field(default=None, description="One line for a person.")
    log: str | None = Field(
        default=None, description="What the rank has printed since; each byte as its Latin-1 sign."
    )
    log_offset: int = Field(default=0, ge=0, description="Where `log` begins in all it printed.")


class Point(Record):
    """A point of an Attempt's live curves, from rank 0's Reports."""

    step: int
    time: float = Field(description="Seconds since the epoch on the worker's clock.")
    metrics: dict[str, float]


class Action(StrEnum):
    CONTINUE = "continue"
    SAVE_AND_STOP = "save_and_stop"
    DUMP_STACKS = "dump_stacks"


class Directive(Record):
    """The control plane's answer to a Report."""

    action: Action = Action.CONTINUE
    at: float | None = Field(default=None, description="When it was given; tells two apart.")
