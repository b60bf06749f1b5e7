"""What to know of a job's data before anything is learned from them: `orchestrator data report`.

Pure: values in, values out. Findings are sentences for people; all else is figures.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import pyarrow as pa

from orchestrator.inspect.class_checks import MAJORITY_RATIO, MAJORITY_SHARE
from orchestrator.inspect.data import DataFacts, SplitFacts, SplitKey
from orchestrator.inspect.labels import LABEL
from orchestrator.inspect.leakage import (
    Repeated,
    Shared,
    TellingWord,
    shared_rows,
    telling_words,
)

LARGE_SHIFT = 0.2  # total variation distance of two mixtures of labels
_NAMED = 5


@dataclass(frozen=True, slots=True)
class Skew:
    """How unequal the classes of a split are, and how they differ from those learned from."""

    domain: str
    split: str
    num_rows: int
    counts: Mapping[str, int]
    majority: str
    majority_share: float
    ratio: float  # of the largest to the smallest class that is there
    shift: float | None  # total variation distance to the training rows; None for them

    @property
    def is_skewed(self) -> bool:
        return self.majority_share > MAJORITY_SHARE or self.ratio > MAJORITY_RATIO


@dataclass(frozen=True, slots=True)
class DataReport:
    """Everything `data report` tells."""

    splits: tuple[SplitFacts, ...]
    skew: tuple[Skew, ...]
    shared: tuple[Shared, ...]
    repeated: tuple[Repeated, ...]
    words: tuple[TellingWord, ...]
    findings: tuple[str, ...]

    def document(self) -> dict[str, Any]:
        """For `--json`."""
        splits = [
            {
                "domain": split.domain,
                "split": split.split,
                "num_rows": split.num_rows,
                "derived": split.derived,
                "class_counts": dict(split.class_counts),
                "characters": asdict(split.characters),
            }
            for split in self.splits
        ]
        return {
            "splits": splits,
            "skew": [{**asdict(skew), "is_skewed": skew.is_skewed} for skew in self.skew],
            "shared": [{**asdict(shared), "is_leak": shared.is_leak} for shared in self.shared],
            "repeated": [asdict(repeated) for repeated in self.repeated],
            "telling_words": [asdict(word) for word in self.words],
            "findings": list(self.findings),
        }


def data_report(facts: DataFacts, tables: Mapping[SplitKey, pa.Table]) -> DataReport:
    """The report on the splits that a job reads.

    Args:
        facts: Of `inspect_data`, without problems.
        tables: The same splits, as `read_tables` gives them.
    """
    if not facts.labels:  # numbers of a regression differ by nature
        tables = {key: _unlabelled(table) for key, table in tables.items()}
    shared, repeated = shared_rows(tables)
    skew = tuple(_skews(facts))
    words = tuple(telling_words(tables))
    findings = (*_leaks(shared), *_conflicts(repeated), *_skewed(skew), *_told(words))
    return DataReport(
        tuple(facts.splits.values()), skew, tuple(shared), tuple(repeated), words, findings
    )


def _unlabelled(table: pa.Table) -> pa.Table:
    return table.drop_columns([LABEL]) if LABEL in table.column_names else table


def _skews(facts: DataFacts) -> Iterator[Skew]:
    learned: Counter[str] = Counter()
    for split in facts.splits.values():
        if split.split == "train":
            learned.update(split.class_counts)
    for split in facts.splits.values():
        counts = {label: count for label, count in split.class_counts.items() if count}
        if not counts:
            continue
        majority = max(counts, key=lambda label: counts[label])
        total = sum(counts.values())
        shift = None if split.split == "train" else _distance(counts, learned)
        yield Skew(
            *(split.domain, split.split, split.num_rows, counts, majority),
            majority_share=counts[majority] / total,
            ratio=counts[majority] / min(counts.values()),
            shift=shift,
        )


def _distance(counts: Mapping[str, int], others: Mapping[str, int]) -> float:
    """Total variation: the share of rows that would have to change their label."""
    own, theirs = max(sum(counts.values()), 1), max(sum(others.values()), 1)
    labels = {*counts, *others}
    return sum(abs(counts.get(n, 0) / own - others.get(n, 0) / theirs) for n in labels) / 2


def _leaks(shared: list[Shared]) -> Iterator[str]:
    for pair in shared:
        where = f"{pair.domain}/{pair.split}"
        what = f"{pair.exact} the same, {pair.near} nearly"
        count = pair.exact + pair.near
        if pair.is_leak:
            yield (
                f"{count} of {pair.num_rows} rows of {where} stand in {pair.other_domain}/train "
                f"too ({what}): figures on them flatter the model"
            )
        elif pair.domain != pair.other_domain and pair.split == pair.other_split:
            yield (
                f"{count} of {pair.num_rows} rows of {where} stand in "
                f"{pair.other_domain}/{pair.other_split} too ({what}): "
                "the domains are not as far apart as their names"
            )
        if pair.conflicts:
            yield (
                f"{pair.conflicts} rows of {where} have another label than their copies in "
                f"{pair.other_domain}/{pair.other_split}"
            )


def _conflicts(repeated: list[Repeated]) -> Iterator[str]:
    for split in repeated:
        if split.conflicts:
            yield (
                f"{split.conflicts} rows of {split.domain}/{split.split} have another label than "
                "a row that says the same, or nearly"
            )


def _skewed(skews: tuple[Skew, ...]) -> Iterator[str]:
    for skew in skews:
        where = f"{skew.domain}/{skew.split}"
        if skew.is_skewed:
            yield (
                f"the classes of {where} are skewed: '{skew.majority}' has "
                f"{skew.majority_share:.0%} of the rows; judge by macro_f1"
            )
        if skew.shift is not None and skew.shift > LARGE_SHIFT:
            yield (
                f"{where} mixes its labels otherwise than the training rows: {skew.shift:.0%} of "
                "its rows would have to change theirs"
            )


def _told(words: tuple[TellingWord, ...]) -> Iterator[str]:
    for word in words[:_NAMED]:
        what = "the label's own name" if word.is_name else "a word"
        yield (
            f"'{word.word}', {what}, gives the label '{word.label}' away: {word.purity:.0%} of the "
            f"{word.rows} training rows that hold it have it, {word.cover:.0%} of the label's rows"
        )
