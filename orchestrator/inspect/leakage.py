"""What makes figures look better than they are: rows shared between splits, words that tell labels.

Called by `inspect.data_report`. Rows are compared by what a model reads of them.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import pyarrow as pa

from orchestrator.inspect.labels import LABEL
from orchestrator.inspect.near import Words, near_pairs, words_of
from orchestrator.inspect.tables import SplitKey
from orchestrator.inspect.values import is_extra

MIN_PURITY = 0.98  # of the rows with a word, those of one label
MIN_COVER = 0.2  # of a label's rows, those with the word: fewer are chance or style
NAME_COVER = 0.05  # the same for the label's own name
MIN_ROWS = 10
_WRITTEN = frozenset({LABEL, "labels", "score", "target", "summary", "completion"})
_EXAMPLES = 3


@dataclass(frozen=True, slots=True)
class Shared:
    """Rows of one split that stand in another one too."""

    domain: str
    split: str
    num_rows: int
    other_domain: str
    other_split: str
    exact: int  # the same but for case and punctuation
    near: int  # a word or a few changed, and no row that is the same
    conflicts: int  # with a partner that has another label
    examples: tuple[tuple[str, str], ...]  # (text, its partner)

    @property
    def is_leak(self) -> bool:
        """Learned from and measured on."""
        return self.other_split == "train" and self.split != "train"


@dataclass(frozen=True, slots=True)
class Repeated:
    """Rows of one split that repeat an earlier one."""

    domain: str
    split: str
    exact: int
    near: int
    conflicts: int


@dataclass(frozen=True, slots=True)
class TellingWord:
    """A word that gives a label away."""

    word: str
    label: str
    rows: int  # training rows that hold it
    purity: float  # of them, those of the label
    cover: float  # of the label's rows, those that hold it
    is_name: bool  # it is the label's own name


def texts_of(table: pa.Table) -> list[str]:
    """What a model reads of each row."""
    roles = [role for role in table.column_names if role not in _WRITTEN and not is_extra(role)]
    columns = [table.column(role).to_pylist() for role in roles]
    return [" ".join(parts) for parts in zip(*columns, strict=True)]


@dataclass
class _Rows:
    """All rows of a job, those of equal words in one group."""

    keys: list[SplitKey]
    groups: list[Words]
    members: list[dict[SplitKey, int]]  # of each group: split -> rows
    labels: list[dict[SplitKey, set[str]]]
    samples: list[dict[SplitKey, str]]  # a row's text as it is written
    partners: dict[int, list[int]] = field(default_factory=lambda: defaultdict(list))


def _grouped(tables: Mapping[SplitKey, pa.Table]) -> _Rows:
    places: dict[Words, int] = {}
    rows = _Rows(list(tables), [], [], [], [])
    for key, table in tables.items():
        has_label = LABEL in table.column_names
        labels = table.column(LABEL).to_pylist() if has_label else [""] * table.num_rows
        for text, label in zip(texts_of(table), labels, strict=True):
            words = words_of(text)
            if not words:
                continue
            place = places.setdefault(words, len(places))
            if place == len(rows.groups):
                rows.groups.append(words)
                rows.members.append({})
                rows.labels.append({})
                rows.samples.append({})
            rows.members[place][key] = rows.members[place].get(key, 0) + 1
            rows.labels[place].setdefault(key, set()).add(label)
            rows.samples[place].setdefault(key, text)
    for one, other in near_pairs(rows.groups):
        rows.partners[one].append(other)
        rows.partners[other].append(one)
    return rows


def shared_rows(tables: Mapping[SplitKey, pa.Table]) -> tuple[list[Shared], list[Repeated]]:
    """Every pair of splits that share rows, leaks first, and repeats within each split."""
    rows = _grouped(tables)
    shared = [
        found
        for key in rows.keys
        for other in rows.keys
        if key != other and _is_told(key, other, rows.keys)
        if (found := _between(rows, key, other, tables[key].num_rows)) is not None
    ]
    repeated = [part for key in rows.keys if (part := _within(rows, key)) is not None]
    return sorted(shared, key=lambda s: (not s.is_leak, -(s.exact + s.near))), repeated


def _is_told(key: SplitKey, other: SplitKey, keys: Sequence[SplitKey]) -> bool:
    """Each pair once: what is measured against what is learned, else in the order of the spec."""
    learned, measured = other[1] == "train", key[1] == "train"
    if learned != measured:
        return learned
    return keys.index(key) < keys.index(other)


def _between(rows: _Rows, key: SplitKey, other: SplitKey, num_rows: int) -> Shared | None:
    exact = near = conflicts = 0
    examples: list[tuple[str, str]] = []
    for place, members in enumerate(rows.members):
        if key not in members:
            continue
        count = members[key]
        if other in members:
            exact += count
            conflicts += count if _differ(rows, place, key, place, other) else 0
            continue
        partners = [p for p in rows.partners.get(place, ()) if other in rows.members[p]]
        if partners:
            near += count
            differ = any(_differ(rows, place, key, partner, other) for partner in partners)
            conflicts += count if differ else 0
            examples.append((rows.samples[place][key], rows.samples[partners[0]][other]))
    if not exact + near:
        return None
    parts = (*key, num_rows, *other, exact, near, conflicts)
    return Shared(*parts, tuple(examples[:_EXAMPLES]))


def _differ(rows: _Rows, place: int, key: SplitKey, partner: int, other: SplitKey) -> bool:
    """Whether two groups of rows carry other labels in these splits."""
    return rows.labels[place][key] != rows.labels[partner][other]


def _within(rows: _Rows, key: SplitKey) -> Repeated | None:
    exact = near = conflicts = 0
    for place, members in enumerate(rows.members):
        count = members.get(key, 0)
        if not count:
            continue
        exact += count - 1
        earlier = [p for p in rows.partners.get(place, ()) if p < place and key in rows.members[p]]
        near += bool(earlier)
        differ = any(_differ(rows, place, key, partner, key) for partner in earlier)
        conflicts += count if len(rows.labels[place][key]) > 1 else int(differ)
    return Repeated(*key, exact, near, conflicts) if exact + near + conflicts else None


def telling_words(tables: Mapping[SplitKey, pa.Table]) -> list[TellingWord]:
    """Words of training rows that give their label away, those of most rows first."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    of_label: Counter[str] = Counter()
    for (_, split), table in tables.items():
        if split != "train" or LABEL not in table.column_names:
            continue
        for text, label in zip(texts_of(table), table.column(LABEL).to_pylist(), strict=True):
            of_label[label] += 1
            for word in set(words_of(text)):
                counts[word][label] += 1
    if len(of_label) < 2:
        return []
    return sorted(_telling(counts, of_label), key=lambda word: (-word.rows, word.word))


def _telling(counts: Mapping[str, Counter[str]], of_label: Counter[str]) -> Iterator[TellingWord]:
    names = {words_of(label): label for label in of_label}
    for word, by_label in counts.items():
        rows = sum(by_label.values())
        ((label, count),) = by_label.most_common(1)
        purity, cover = count / rows, count / of_label[label]
        is_name = names.get((word,)) == label
        enough = cover >= (NAME_COVER if is_name else MIN_COVER)
        if rows >= MIN_ROWS and purity >= MIN_PURITY and enough:
            yield TellingWord(word, label, rows, purity, cover, is_name)
