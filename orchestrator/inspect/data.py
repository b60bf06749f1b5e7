"""Facts about a job's data, and its tables: what the plan, the preview and the workers read.

`inspect_data` never raises for bad data: it hands out every problem, for `inspect.validation` to
report beside those of the spec. `read_tables` raises.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from orchestrator.errors import InvalidInput, Problem
from orchestrator.inspect.class_checks import class_problems, class_warnings, labels_of
from orchestrator.inspect.files import Fetch
from orchestrator.inspect.given import given_files
from orchestrator.inspect.labels import (
    LABEL,
    ONE_CLASS,
    LabelForm,
    NumberFacts,
    class_counts,
    form_of,
    number_facts,
)
from orchestrator.inspect.mixing import (
    Draw,
    domain_quotas,
    drawn_labels,
    epoch_draws,
    epoch_rows,
)
from orchestrator.inspect.overlap import overlap_warnings
from orchestrator.inspect.tables import (
    ReadData,
    Reading,
    SplitKey,
    read_all,
    used_splits,
    without_extra,
)
from orchestrator.specs.data import Split
from orchestrator.specs.finetune import FineTuneSpec
from orchestrator.specs.task import CustomTask
from orchestrator.specs.task_views import key_of, sampling_of, task_views
from orchestrator.specs.understanding import slice_columns

__all__ = [
    "DataFacts",
    "Fetch",
    "LengthFacts",
    "SplitFacts",
    "SplitKey",
    "inspect_data",
    "read_tables",
]


@dataclass(frozen=True, slots=True)
class LengthFacts:
    """Characters of the rows' texts."""

    mean: float
    p95: float
    max: int


@dataclass(frozen=True, slots=True)
class SplitFacts:
    """One split as the job sees it: after hold-out and weights, as `read_tables` gives it."""

    domain: str
    split: Split
    num_rows: int
    digest: str
    class_counts: Mapping[str, int]  # rows that have a label; empty for tasks without classes
    derived: bool  # held out of train by valid_fraction
    characters: LengthFacts
    numbers: NumberFacts | None = None  # of a regression's labels


@dataclass(frozen=True, slots=True)
class DataFacts:
    """What the data of a job are. With problems, only splits that could be read are in `splits`."""

    splits: Mapping[SplitKey, SplitFacts]
    labels: tuple[str, ...]  # in the order of the model's outputs
    problems: tuple[Problem, ...]
    warnings: tuple[str, ...]
    unread: Mapping[SplitKey, str] = field(
        default_factory=dict
    )  # digests of files left to a script
    draws: tuple[Draw, ...] = ()  # what each domain (or task) contributes to an epoch
    tasks: Mapping[str, DataFacts] = field(default_factory=dict)  # each of several tasks alone

    @property
    def digests(self) -> dict[str, str]:
        """domain/split -> sha256 (hex): what an identity is made of."""
        found = {key: facts.digest for key, facts in self.splits.items()}
        return {
            f"{name}/{split}": digest for (name, split), digest in {**found, **self.unread}.items()
        }

    @property
    def drawn_labels(self) -> dict[str, float]:
        """label -> how often an epoch draws it."""
        return drawn_labels(self.draws)

    @property
    def num_train_rows(self) -> int:
        """Rows an epoch draws, over all domains."""
        if self.draws:
            return epoch_rows(self.draws)
        return sum(f.num_rows for f in self.splits.values() if f.split == "train")


def inspect_data(
    spec: FineTuneSpec,
    *,
    base_dir: Path,
    fetch: Fetch | None,
    doubtful: Collection[str] = (),
) -> DataFacts:
    """Reads every split the job uses and says what it is and what is wrong with it.

    `doubtful` are fields of a spec that its schema refused: nothing is said that rests on them.
    """
    if isinstance(spec.task, CustomTask):
        given = given_files(spec.data, base_dir=base_dir, fetch=fetch, doubtful=doubtful)
        return DataFacts({}, (), tuple(given.problems), (), given.digests)
    if spec.tasks:
        return _together(
            spec,
            {
                name: inspect_data(
                    view,
                    base_dir=base_dir,
                    fetch=fetch,
                    doubtful={path.replace(f"tasks.{name}.", "task.", 1) for path in doubtful},
                )
                for name, view in task_views(spec).items()
            },
        )
    extra = () if _touched("evaluation.slices", doubtful) else slice_columns(spec.evaluation.slices)
    how = Reading(spec.task, base_dir, fetch, doubtful, extra)
    found = read_all(spec.data, how, wanted=used_splits(spec.data))
    found.tables = {key: without_extra(table) for key, table in found.tables.items()}
    labels = labels_of(spec, found)
    problems = [*found.problems, *class_problems(spec, found, labels, doubtful)]
    form = form_of(spec.task)
    splits = {
        key: _facts(key, found, form) for key in used_splits(spec.data) if key in found.tables
    }
    return DataFacts(
        splits=splits,
        labels=labels,
        problems=tuple(problems),
        warnings=(*class_warnings(spec, found, labels), *overlap_warnings(spec.data, found)),
        draws=epoch_draws(spec.data, _train_counts(splits, form)),
    )


def read_tables(
    spec: FineTuneSpec,
    *,
    base_dir: Path,
    fetch: Fetch | None,
    wanted: Collection[SplitKey] | None = None,
    with_extra: bool = False,
) -> dict[SplitKey, pa.Table]:
    """The job's splits, or those `wanted`: role columns (`text`, `label`) as strings, no nulls.

    A label that is no single class is a string too: see `inspect.labels`.
    Rows keep the order of their files; where a domain has no valid split it is held out of train,
    and sources are repeated or thinned by their weights. `with_extra` keeps the columns that
    `evaluation.slices` names beside the roles of the test rows. Raises InvalidInput.
    """
    if spec.tasks:
        return {
            (key_of(name, domain), split): table
            for name, view in task_views(spec).items()
            for (domain, split), table in read_tables(view, base_dir=base_dir, fetch=fetch).items()
            if wanted is None or (key_of(name, domain), split) in wanted
        }
    extra = slice_columns(spec.evaluation.slices) if with_extra else ()
    how = Reading(spec.task, base_dir, fetch, extra=extra)
    keys = used_splits(spec.data) if wanted is None else list(wanted)
    found = read_all(spec.data, how, wanted=keys)
    if found.problems:
        raise InvalidInput(found.problems)
    return {key: found.tables[key] for key in keys}


def _together(spec: FineTuneSpec, found: Mapping[str, DataFacts]) -> DataFacts:
    """The facts of several tasks as those of one job: by `task/domain`, each problem once."""
    problems = {
        replace(problem, path=re.sub(r"^task\b", f"tasks.{name}", problem.path or "") or None)
        for name, facts in found.items()
        for problem in facts.problems
    }
    rows = {name: {"": facts.num_train_rows} for name, facts in found.items()}
    quotas = domain_quotas(sampling_of(spec), rows) if not problems else [0] * len(rows)
    return DataFacts(
        splits={
            (key_of(name, domain), split): replace(split_facts, domain=key_of(name, domain))
            for name, facts in found.items()
            for (domain, split), split_facts in facts.splits.items()
        },
        labels=tuple(label for facts in found.values() for label in facts.labels),
        problems=tuple(sorted(problems, key=lambda problem: str(problem))),
        warnings=tuple(
            f"{name}: {warning}" for name, facts in found.items() for warning in facts.warnings
        ),
        draws=tuple(
            Draw(name, counts[""], drawn)
            for (name, counts), drawn in zip(rows.items(), quotas, strict=True)
        ),
        tasks=found,
    )


def _touched(path: str, doubtful: Collection[str]) -> bool:
    return any(doubt == path or doubt.startswith(f"{path}.") for doubt in doubtful)


def _train_counts(
    splits: Mapping[SplitKey, SplitFacts], form: LabelForm
) -> dict[str, Mapping[str, int]]:
    """domain -> label -> rows to learn from; one entry without a name where rows have no class."""
    return {
        domain: facts.class_counts
        if form == ONE_CLASS and facts.class_counts
        else {"": facts.num_rows}
        for (domain, split), facts in splits.items()
        if split == "train"
    }


def _facts(key: SplitKey, found: ReadData, form: LabelForm) -> SplitFacts:
    table = found.tables[key]
    return SplitFacts(
        domain=key[0],
        split=key[1],
        num_rows=table.num_rows,
        digest=found.digests[key],
        class_counts=class_counts([table], form),
        derived=key in found.derived,
        characters=_lengths(table),
        numbers=number_facts(table, form),
    )


def _lengths(table: pa.Table) -> LengthFacts:
    texts = [table.column(role) for role in table.column_names if role != LABEL]
    lengths = pc.utf8_length(texts[0])
    for more in texts[1:]:
        lengths = pc.add(lengths, pc.utf8_length(more))
    if not len(lengths):
        return LengthFacts(0.0, 0.0, 0)
    p95 = pc.quantile(lengths, q=0.95, interpolation="nearest")[0].as_py()
    return LengthFacts(float(pc.mean(lengths).as_py()), float(p95), int(pc.max(lengths).as_py()))
