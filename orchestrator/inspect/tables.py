"""All splits a job reads, as tables: validation held out of train, sources weighted, digests.

Called by `inspect.data`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from orchestrator.errors import InvalidInput, Problem
from orchestrator.inspect.files import Fetch
from orchestrator.inspect.labels import LabelForm, form_of
from orchestrator.inspect.sources import SourceRows, check_source_exists, read_source
from orchestrator.inspect.splits import held_out, weighted
from orchestrator.inspect.values import is_extra
from orchestrator.specs.data import DataSpec, Source, Split, drawn_domains, training_domains
from orchestrator.specs.data_checks import sources
from orchestrator.specs.partial import CUT_OUT
from orchestrator.specs.task import TaskSpec

SplitKey = tuple[str, Split]


@dataclass
class ReadData:
    """What was read. `tables` are the rows as the job sees them, `sources` as the files hold them.

    A split is in `tables` only where all of its sources could be read.
    """

    sources: dict[SplitKey, list[SourceRows]] = field(default_factory=dict)
    tables: dict[SplitKey, pa.Table] = field(default_factory=dict)
    digests: dict[SplitKey, str] = field(default_factory=dict)
    derived: set[SplitKey] = field(default_factory=set)
    problems: list[Problem] = field(default_factory=list)


@dataclass(frozen=True)
class Reading:
    """How to read: where relative paths start, what brings URLs here, what not to rely upon."""

    task: TaskSpec
    base_dir: Path
    fetch: Fetch | None = None
    doubtful: Collection[str] = ()  # fields the schema or the checks refused
    extra: Sequence[str] = ()  # columns of test rows that no model sees

    def is_doubtful(self, place: str) -> bool:
        return any(d == place or d.startswith((f"{place}.", f"{place}[")) for d in self.doubtful)


def learned_from(data: DataSpec) -> list[str]:
    """The training domains that exist and have rows to learn from, replayed ones too."""
    return _with_rows(data, drawn_domains(data))


def _with_rows(data: DataSpec, names: Collection[str]) -> list[str]:
    return [name for name in names if name in data.domains and data.domains[name].train is not None]


def used_splits(data: DataSpec) -> list[SplitKey]:
    """The splits the job reads: train where it learns, valid and test of every domain."""
    drawn = learned_from(data)
    keys: list[SplitKey] = []
    for name, domain in data.domains.items():
        if name in drawn:
            keys.append((name, "train"))
        if domain.valid is not None or _derives(data, name):
            keys.append((name, "valid"))
        if domain.test is not None:
            keys.append((name, "test"))
    return keys


def read_all(data: DataSpec, how: Reading, *, wanted: Collection[SplitKey]) -> ReadData:
    """Reads the splits in `wanted`; sources of other splits are only looked for when `wanted`
    is all that the job uses."""
    found = ReadData()
    needed = {
        (name, "train" if split == "valid" and _derives(data, name) else split)
        for name, split in wanted
    }
    for place, name, split, source in sources(data):
        if (name, split) in needed:
            _read(found, (name, split), source, place, how)
        elif set(used_splits(data)) <= set(wanted):
            found.problems.extend(_exists(source, place, how))
    for name in data.domains:
        for split in ("train", "valid", "test"):
            _finish(found, data, (name, split), wanted, form_of(how.task))
    return found


def _derives(data: DataSpec, name: str) -> bool:
    """Whether valid rows are held out of train; those of replayed domains decide nothing."""
    return data.domains[name].valid is None and name in _with_rows(data, training_domains(data))


def _read(found: ReadData, key: SplitKey, source: Source, place: str, how: Reading) -> None:
    if how.is_doubtful(place):
        found.problems.extend(_exists(source, place, how))
        return
    try:
        rows = read_source(
            source,
            place,
            task=how.task,
            base_dir=how.base_dir,
            fetch=how.fetch,
            extra=how.extra if key[1] == "test" else (),
        )
    except InvalidInput as error:
        found.problems.extend(error.problems)
        return
    found.sources.setdefault(key, []).append(rows)


def _exists(source: Source, place: str, how: Reading) -> list[Problem]:
    if source.path == CUT_OUT:
        return []
    return check_source_exists(source, place, base_dir=how.base_dir, fetch=how.fetch)


def _finish(
    found: ReadData,
    data: DataSpec,
    key: SplitKey,
    wanted: Collection[SplitKey],
    form: LabelForm,
) -> None:
    name, split = key
    given: tuple[Source, ...] = getattr(data.domains[name], split) or ()
    parts = found.sources.get(key, [])
    if not given or len(parts) != len(given):
        return  # derived below with train, or told why it could not be read
    digests = [part.digest for part in parts]
    if split != "train":
        if key in wanted:
            found.tables[key] = pa.concat_tables([part.table for part in parts])
            found.digests[key] = _digest(digests)
        return
    tables = [part.table for part in parts]
    if _derives(data, name):
        mask = held_out(pa.concat_tables(tables), data.valid_fraction, form)
        if mask is None:
            message = "no validation rows can be set aside: each label has only one text"
            hint = f"add data.domains.{name}.valid, or more training rows"
            found.problems.append(Problem(message, path=f"data.domains.{name}", hint=hint))
            return
        rule = [f"valid_fraction={data.valid_fraction}"]
        if (name, "valid") in wanted:
            found.tables[name, "valid"] = pa.concat_tables(tables).filter(mask)
            found.digests[name, "valid"] = _digest([*digests, *rule, "valid"])
            found.derived.add((name, "valid"))
        digests += rule
        tables = _without(tables, mask)
    if key in wanted:
        weights = [part.weight for part in parts]
        pairs = zip(tables, weights, strict=True)
        found.tables[key] = pa.concat_tables([weighted(table, weight) for table, weight in pairs])
        found.digests[key] = _digest(digests)


def _without(tables: list[pa.Table], mask: pa.Array) -> list[pa.Table]:
    """Each table without its rows in `mask`, which runs over all of them."""
    kept, start = [], 0
    for table in tables:
        here = mask.slice(start, table.num_rows)
        kept.append(table.filter(pc.invert(here)))
        start += table.num_rows
    return kept


def without_extra(table: pa.Table) -> pa.Table:
    """A table's roles alone."""
    return table.select([role for role in table.column_names if not is_extra(role)])


def _digest(parts: list[str]) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
