"""Classes of a classification job: which there are, which cannot be learned, how skewed they are.

Called by `inspect.data`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from orchestrator.errors import Problem
from orchestrator.inspect.sources import SourceRows
from orchestrator.inspect.tables import ReadData, learned_from
from orchestrator.inspect.values import LABEL
from orchestrator.specs.checks import is_within_source
from orchestrator.specs.data import training_domains
from orchestrator.specs.finetune import FineTuneSpec
from orchestrator.specs.suggest import closest
from orchestrator.specs.task import TextClassification

MAJORITY_SHARE = 0.8  # above this accuracy says little
MAJORITY_RATIO = 10.0  # of the largest to the smallest class
_NAMED = 10  # classes a message lists


def class_counts(tables: Sequence[pa.Table]) -> dict[str, int]:
    """label -> rows, in the order of the labels' names; empty for tasks without labels."""
    columns = [table.column(LABEL) for table in tables if LABEL in table.column_names]
    counts: dict[str, int] = {}
    for column in columns:
        for entry in pc.value_counts(column).to_pylist():
            counts[entry["values"]] = counts.get(entry["values"], 0) + entry["counts"]
    return {label: counts[label] for label in _in_order(counts)}


def labels_of(spec: FineTuneSpec, found: ReadData) -> tuple[str, ...]:
    """The job's labels: those of the task, or those of the training rows, sorted."""
    if (listed := listed_labels(spec)) is not None:
        return listed
    return tuple(class_counts([part.table for part in _training(spec, found)]))


def listed_labels(spec: FineTuneSpec) -> tuple[str, ...] | None:
    """Those the task names itself."""
    return spec.task.labels if isinstance(spec.task, TextClassification) else None


def class_problems(
    spec: FineTuneSpec, found: ReadData, labels: Sequence[str], doubtful: Collection[str]
) -> list[Problem]:
    """Rows whose label cannot be learned or predicted, and training rows of one class only."""
    parts = _training(spec, found)
    wanted = sum(len(spec.data.domains[d].train or ()) for d in learned_from(spec.data))
    # What was not read may hold the labels that seem to be missing.
    unsure = any(
        doubt.split(".")[0] in ("data", "task") and not is_within_source(doubt)
        for doubt in doubtful
    )
    if unsure or not parts or len(parts) < wanted or not labels:
        return []
    if spec.data.transform is not None and listed_labels(spec) is not None:
        return []  # it may well make the listed labels of others: workers see what comes of it
    problems = list(_too_few_classes(spec, parts))
    for (_, split), split_parts in found.sources.items():
        for part in split_parts:
            problems.extend(_unknown_labels(spec, part, split, labels))
    return [*problems, *_unweighed(spec, labels)]


def _training(spec: FineTuneSpec, found: ReadData) -> list[SourceRows]:
    return [
        part for name in learned_from(spec.data) for part in found.sources.get((name, "train"), ())
    ]


def _too_few_classes(spec: FineTuneSpec, parts: Sequence[SourceRows]) -> Iterator[Problem]:
    counts = class_counts([part.table for part in parts])
    if len(counts) == 1:
        name = training_domains(spec.data)[0]
        (label,) = counts
        yield Problem(
            f"all {counts[label]} training rows have the label '{label}'",
            path=f"data.domains.{name}.train",
            hint="a classifier needs rows of at least two labels; check columns.label",
        )


def _unknown_labels(
    spec: FineTuneSpec, part: SourceRows, split: str, labels: Sequence[str]
) -> Iterator[Problem]:
    counts = class_counts([part.table])
    unknown = {label: n for label, n in counts.items() if label not in labels}
    if not unknown:
        return
    known = ", ".join(f"'{label}'" for label in labels[:_NAMED])
    known += ", …" if len(labels) > _NAMED else ""
    listed = listed_labels(spec) is not None
    for label, count in list(unknown.items())[:_NAMED]:
        rows = f"{count} {'row has' if count == 1 else 'rows have'}"
        why = "task.labels does not list" if listed else "no training row has"
        near = closest(label, labels)
        hint = f"did you mean '{near}'?" if near else f"known labels: {known}"
        remedy = "add it to task.labels" if listed else "add training rows with it"
        message = f"{rows} the label '{label}', which {why}"
        first = int(pc.index(part.table.column(LABEL), label).as_py())
        yield part.problem(first, message, f"{hint}; otherwise {remedy}, or remove the rows")
    if len(unknown) > _NAMED:
        message = f"{len(unknown) - _NAMED} more labels of this source are unknown"
        yield Problem(message, path=part.place, hint="check columns.label")


def _unweighed(spec: FineTuneSpec, labels: Sequence[str]) -> Iterator[Problem]:
    """Where the labels are those of the data: `specs.checks` knows none of them."""
    task = spec.task
    if not isinstance(task, TextClassification) or task.labels is not None:
        return
    weights = task.class_weights.weights if task.class_weights is not None else None
    if weights is None:
        return
    path = "task.class_weights.weights"
    for label in labels:
        if label not in weights:
            yield Problem(f"'{label}' has no weight", path=path, hint=f"write {label}: 1")
    for label in weights:
        if label not in labels:
            known = ", ".join(labels[:_NAMED])
            message = f"no training row has the label '{label}'"
            yield Problem(message, path=f"{path}.{label}", hint=f"remove it; labels are {known}")


def class_warnings(spec: FineTuneSpec, found: ReadData, labels: Sequence[str]) -> list[str]:
    """Skew, classes with a single row, classes that are listed and never seen."""
    tables = [table for (_, split), table in found.tables.items() if split == "train"]
    counts = class_counts(tables)
    if not counts or (spec.data.transform is not None and listed_labels(spec) is not None):
        return []
    return [
        *_skew(counts),
        *_rare(counts),
        *_unseen(counts, labels if listed_labels(spec) is not None else ()),
        *_few_rows(sum(table.num_rows for table in tables), spec),
    ]


def _skew(counts: dict[str, int]) -> Iterator[str]:
    label, most = max(counts.items(), key=lambda entry: entry[1])
    rarest, least = min(counts.items(), key=lambda entry: entry[1])
    share = most / sum(counts.values())
    if len(counts) > 1 and (share > MAJORITY_SHARE or most > MAJORITY_RATIO * least):
        yield (
            f"the training classes are skewed: '{label}' has {most} rows ({share:.0%}), '{rarest}' "
            f"{least}; judge and select by macro_f1, which accuracy hides"
        )


def _rare(counts: dict[str, int]) -> Iterator[str]:
    single = [label for label, count in counts.items() if count == 1]
    if single:
        named = ", ".join(f"'{label}'" for label in single[:_NAMED])
        more = f" and {len(single) - _NAMED} more" if len(single) > _NAMED else ""
        noun = "class has" if len(single) == 1 else "classes have"
        yield f"{len(single)} training {noun} a single row: {named}{more}; is columns.label right?"


def _unseen(counts: dict[str, int], listed: Sequence[str]) -> Iterator[str]:
    missing = [label for label in listed if label not in counts]
    if missing:
        named = ", ".join(f"'{label}'" for label in missing[:_NAMED])
        yield f"task.labels lists {named}, of which there are no training rows"


def _few_rows(num_rows: int, spec: FineTuneSpec) -> Iterator[str]:
    batch = spec.training.global_batch_size
    if num_rows < batch:
        yield (
            f"there are fewer training rows ({num_rows}) than training.global_batch_size ({batch})"
        )


def _in_order(labels: Collection[str]) -> list[str]:
    """By name; whole numbers by value, so that 10 comes after 9."""
    if all(label.removeprefix("-").isdecimal() for label in labels):
        return sorted(labels, key=lambda label: (int(label), label))
    return sorted(labels)
