"""Labels of a classification job: which there are, which cannot be learned, how skewed they are.

Called by `inspect.data`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

import pyarrow as pa

from orchestrator.errors import Problem
from orchestrator.inspect.labels import (
    NumberFacts,
    class_counts,
    form_of,
    names_of,
    number_facts,
)
from orchestrator.inspect.sources import SourceRows
from orchestrator.inspect.tables import ReadData, learned_from
from orchestrator.specs.checks import is_within_source
from orchestrator.specs.data import training_domains
from orchestrator.specs.finetune import FineTuneSpec
from orchestrator.specs.suggest import closest
from orchestrator.specs.task import TextClassification

MAJORITY_SHARE = 0.8  # above this accuracy says little
MAJORITY_RATIO = 10.0  # of the largest to the smallest class
RARE_SHARE = 0.05  # of the rows: a label that fewer have, or lack, is skewed
FAR_FROM_ZERO = 10.0  # of mean or deviation: much farther than a new head begins
_NAMED = 10  # classes a message lists


def labels_of(spec: FineTuneSpec, found: ReadData) -> tuple[str, ...]:
    """The job's labels: those of the task, or those of the training rows, sorted."""
    if (listed := listed_labels(spec)) is not None:
        return listed
    return tuple(class_counts([part.table for part in _training(spec, found)], form_of(spec.task)))


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
    form = form_of(spec.task)
    if unsure or not parts or len(parts) < wanted:
        return []
    if form.is_number:
        return list(_one_number(spec, parts))
    if not labels and not form.is_set:
        return []
    if spec.data.transform is not None and listed_labels(spec) is not None:
        return []  # it may well make the listed labels of others: workers see what comes of it
    too_few = _too_few_labels if form.is_set else _too_few_classes
    problems = list(too_few(spec, parts))
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


def _too_few_labels(spec: FineTuneSpec, parts: Sequence[SourceRows]) -> Iterator[Problem]:
    """Of rows with any number of labels: none that is ever there, or but one."""
    counts = class_counts([part.table for part in parts], form_of(spec.task))
    if len(counts) < 2 and listed_labels(spec) is None:
        name = training_domains(spec.data)[0]
        known = f"the training rows have but one label, '{next(iter(counts))}'"
        yield Problem(
            known if counts else "no training row has any label",
            path=f"data.domains.{name}.train",
            hint="check columns.label; for one label write its absence as another, single_label",
        )


def _one_number(spec: FineTuneSpec, parts: Sequence[SourceRows]) -> Iterator[Problem]:
    facts = number_facts(pa.concat_tables([part.table for part in parts]), form_of(spec.task))
    if facts is not None and facts.min == facts.max:
        name = training_domains(spec.data)[0]
        yield Problem(
            f"all training rows have the label {facts.min:g}",
            path=f"data.domains.{name}.train",
            hint="a regression needs rows of different labels; check columns.label",
        )


def _unknown_labels(
    spec: FineTuneSpec, part: SourceRows, split: str, labels: Sequence[str]
) -> Iterator[Problem]:
    form = form_of(spec.task)
    counts = class_counts([part.table], form)
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
        first = next(row for row, names in enumerate(names_of(part.table, form)) if label in names)
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
    form = form_of(spec.task)
    num_rows = sum(table.num_rows for table in tables)
    if form.is_number and tables:
        facts = number_facts(pa.concat_tables(tables), form)
        return [*_far_numbers(facts), *_few_rows(num_rows, spec)]
    counts = class_counts(tables, form)
    if not counts or (spec.data.transform is not None and listed_labels(spec) is not None):
        return []
    return [
        *(_skewed_labels(counts, num_rows) if form.is_set else _skew(counts)),
        *_rare(counts),
        *_unseen(counts, labels if listed_labels(spec) is not None else ()),
        *_few_rows(num_rows, spec),
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


def _skewed_labels(counts: dict[str, int], num_rows: int) -> Iterator[str]:
    """Labels that nearly all rows have, or nearly none."""
    for label, count in counts.items():
        if count > 1 and not RARE_SHARE <= count / num_rows <= 1 - RARE_SHARE:
            yield (
                f"{count} of {num_rows} training rows have the label '{label}': judge and select "
                "by macro_f1, which micro_f1 and subset_accuracy hide"
            )


def _far_numbers(facts: NumberFacts | None) -> Iterator[str]:
    """A new head gives numbers near 0, and each step moves it by about the learning rate."""
    if facts is not None and max(abs(facts.mean), facts.std) > FAR_FROM_ZERO:
        yield (
            f"the labels lie between {facts.min:g} and {facts.max:g} (mean {facts.mean:.3g}): a "
            "new head begins near 0 and moves slowly; learn scaled labels, e.g. of mean 0 and "
            "deviation 1"
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
