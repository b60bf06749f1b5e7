"""Domains, their splits and the sources of each split."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from orchestrator.specs.base import DomainName, SpecError, SpecModel
from orchestrator.specs.mixing import MixingSpec
from orchestrator.specs.runtime import EntryPoint

Split = Literal["train", "valid", "test"]
SPLITS: tuple[Split, ...] = ("train", "valid", "test")


class Source(SpecModel):
    """Where rows come from: files by `path`, or a hub data set by `hub`."""

    path: str | None = Field(
        default=None,
        min_length=1,
        description=(
            "A file, folder or glob (relative to the spec's file), or an s3://, gs:// or az:// URL."
        ),
    )
    hub: str | None = Field(
        default=None, min_length=1, description="A hub data set, org/name, instead of a path."
    )
    config: str | None = Field(default=None, description="Configuration of the hub data set.")
    split: str | None = Field(
        default=None, description="Split of the hub data set, e.g. train[:1000]."
    )
    revision: str | None = Field(
        default=None,
        description="Branch, tag or commit of the hub data set; pinned to a commit by the plan.",
    )
    format: Literal["jsonl", "csv", "parquet", "tfrecord"] | None = Field(
        default=None, description="File format; absent: by the file's ending."
    )
    columns: dict[str, str] | None = Field(
        default=None,
        description=(
            "Role -> column name, e.g. {text: review, label: stars}; absent: the task's defaults."
        ),
    )
    weight: float = Field(
        default=1.0,
        gt=0,
        description=(
            "Share of this source's rows an epoch draws: 2.0 draws each twice, "
            "0.5 a fixed half of them."
        ),
    )

    @model_validator(mode="after")
    def _one_origin(self) -> Source:
        if (self.path is None) == (self.hub is None):
            raise SpecError(
                "give either `path` or `hub`",
                hint="`path: data/train.jsonl` for files, `hub: org/name` for a hub data set",
            )
        if self.path is not None and (self.config or self.split or self.revision):
            raise SpecError(
                "`config`, `split` and `revision` belong to a `hub` data set, not to a `path`",
                hint="remove them, or give `hub: org/name` instead of `path`",
            )
        if self.hub is not None and self.split is None:
            raise SpecError(
                "a `hub` data set needs its `split`", field="split", hint="e.g. `split: train`"
            )
        return self


Sources = tuple[Source, ...]


class Domain(SpecModel):
    """A text domain: its splits, each a list of sources."""

    train: Sources | None = Field(default=None, min_length=1, description="Rows to learn from.")
    valid: Sources | None = Field(
        default=None, min_length=1, description="Rows for decisions: early stopping and selection."
    )
    test: Sources | None = Field(
        default=None,
        min_length=1,
        description="Rows read once, at the end, for the reported figures.",
    )


class DataSpec(SpecModel):
    """All domains of the job, and those it learns from."""

    domains: dict[DomainName, Domain] = Field(
        min_length=1,
        description="Domain name -> splits. Every domain with a test split is evaluated.",
    )
    train_on: tuple[DomainName, ...] | None = Field(
        default=None,
        min_length=1,
        description="Domains to learn from; absent: every domain that has a train split.",
    )
    valid_fraction: float = Field(
        default=0.1,
        gt=0,
        lt=1,
        description=(
            "Share of a training domain's train split set aside where it has no valid split."
        ),
    )
    mixing: MixingSpec | None = Field(
        default=None,
        description="Which rows an epoch draws of each domain; absent: every row once.",
    )
    transform: EntryPoint | None = Field(
        default=None,
        description=(
            "Function of runtime.code for each row, module:function: a mapping of roles to text "
            "becomes another one, or None to leave the row out."
        ),
    )
    collator: EntryPoint | None = Field(
        default=None,
        description=(
            "Function of runtime.code that makes a batch of encoded rows, module:function; "
            "absent: rows are padded to the longest."
        ),
    )


def training_domains(data: DataSpec) -> tuple[str, ...]:
    """The domains the job learns from, in order: `train_on`, or every domain with a train split."""
    if data.train_on is not None:
        return data.train_on
    return tuple(name for name, domain in data.domains.items() if domain.train is not None)


def drawn_domains(data: DataSpec) -> tuple[str, ...]:
    """Every domain whose train split is read: those learned from, then those replayed."""
    replay = data.mixing.replay if data.mixing is not None else None
    return (*training_domains(data), *(replay.domains if replay is not None else ()))
