"""Hub data sets through the `datasets` library, which is imported only when a spec names one.

Also reads a local folder that the library accepts in place of a hub name. No code of a data set
is ever run: the library refuses scripts. Called by `inspect.sources`.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa

from orchestrator.errors import InvalidInput, MissingExtra, Problem
from orchestrator.inspect.faults import Faults
from orchestrator.inspect.labels import LABEL, ONE_CLASS, LabelForm
from orchestrator.inspect.readers import canonical
from orchestrator.inspect.values import is_extra
from orchestrator.specs.data import SPLITS, DataSpec, Source
from orchestrator.specs.suggest import closest

LOOKUP_SECONDS = 10.0

_HASHED_ROWS = 10_000


def read_hub(
    source: Source,
    columns: Mapping[str, str],
    place: str,
    *,
    base_dir: Path,
    form: LabelForm = ONE_CLASS,
) -> tuple[pa.Table, str]:
    """Role columns as strings, and a digest of their content; raises InvalidInput."""
    assert source.hub is not None
    rows = _load(source, place, base_dir)
    problems = [
        _wrong_column(source, role, name, rows.column_names, place)
        for role, name in columns.items()
        if name not in rows.column_names
    ]
    if problems:
        raise InvalidInput(problems)
    if rows.num_rows == 0:
        message = f"split {source.split} of {source.hub} has no rows"
        raise InvalidInput([Problem(message, path=f"{place}.split", hint="choose another split")])
    wanted = list(dict.fromkeys(columns.values()))
    table = rows.select_columns(wanted).with_format("arrow")[:]
    table = table.select(list(columns.values())).rename_columns(list(columns))
    if LABEL in columns:
        table = _with_class_names(table, rows.features[columns[LABEL]])
    faults = Faults(place, f"{source.hub} ({source.split})")
    table = canonical(table, columns, faults, lambda row: None, form)
    return table, _content_digest(table.select([r for r in columns if not is_extra(r)]))


class DataHub(Protocol):
    """The part of `huggingface_hub.HfApi` that is used."""

    def dataset_info(
        self, repo_id: str, *, revision: str | None = None, timeout: float | None = None
    ) -> Any: ...


def pin_sources(data: DataSpec, *, base_dir: Path, api: DataHub | None = None) -> DataSpec:
    """`data` with the revision of each hub source as the commit it means now.

    So the workers read what the plan read. Where the hub cannot be asked the revision stays as it
    is written: then all read the local cache, and reading says what is wrong.
    """
    document = data.model_dump(mode="json", exclude_none=True)
    for domain in document["domains"].values():
        for source in (source for split in SPLITS for source in domain.get(split, ())):
            name = source.get("hub")
            if name is None or (base_dir / name).is_dir() or _is_commit(source.get("revision")):
                continue
            if api is None:
                from huggingface_hub import HfApi

                api = HfApi()
            try:
                info = api.dataset_info(
                    name, revision=source.get("revision"), timeout=LOOKUP_SECONDS
                )
            except Exception:  # noqa: BLE001 (transports raise any kind; see the docstring)
                continue
            source["revision"] = str(info.sha)
    return DataSpec.model_validate(document)


def _is_commit(revision: str | None) -> bool:
    return revision is not None and re.fullmatch(r"[0-9a-f]{40}", revision) is not None


def _load(source: Source, place: str, base_dir: Path) -> Any:
    try:
        import datasets
    except ImportError as error:
        raise MissingExtra(
            f"{place}.hub: hub data sets need the `datasets` library",
            hint="pip install 'finetune-orchestrator[worker]'",
        ) from error
    datasets.disable_progress_bars()  # the caller has its own display, or none
    name = str(source.hub)
    local = base_dir / name
    try:
        return datasets.load_dataset(
            str(local) if local.is_dir() else name,
            source.config,
            split=source.split,
            revision=source.revision,
        )
    except Exception as error:
        raise InvalidInput([_explained(error, source, place)]) from error


def _explained(error: Exception, source: Source, place: str) -> Problem:
    names = {kind.__name__ for kind in type(error).__mro__}
    text = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    name = source.hub
    if "split" in text.lower() and isinstance(error, ValueError):
        message = f"{name} has no split '{source.split}': {text}"
        return Problem(message, path=f"{place}.split", hint="choose one of its splits")
    if "BuilderConfig" in text or "Config name is missing" in text:
        hint = "name one of its configurations in `config`"
        return Problem(f"{name}: {text}", path=f"{place}.config", hint=hint)
    if names & {"OfflineModeIsEnabled", "ConnectionError", "LocalEntryNotFoundError"}:
        message = f"{name} is not in the local cache and the hub cannot be reached"
        hint = "unset HF_HUB_OFFLINE, check the network, or give files by `path`"
        return Problem(message, path=f"{place}.hub", hint=hint)
    if names & {"DatasetNotFoundError", "DataFilesNotFoundError", "FileNotFoundError"}:
        hint = "check its name (org/name) and revision; a private one needs HF_TOKEN"
        return Problem(f"{name} cannot be found: {text}", path=f"{place}.hub", hint=hint)
    hint = "check the name, or give files by `path`"
    return Problem(f"{name} cannot be read: {text}", path=f"{place}.hub", hint=hint)


def _wrong_column(source: Source, role: str, column: str, known: list[str], place: str) -> Problem:
    near = closest(column, known) or "<one of these>"
    message = f"{source.hub} has no column `{column}`; it has: {', '.join(known)}"
    if is_extra(role):
        return Problem(message, path="evaluation.slices", hint=f"slice by {near}")
    path = f"{place}.columns.{role}"
    return Problem(message, path=path, hint=f"write columns: {{{role}: {near}}} in this source")


def _with_class_names(table: pa.Table, feature: Any) -> pa.Table:
    """Numbers of classes become their names, so that they meet those of files; -1 is no label."""
    names = getattr(feature, "names", None)
    names_in_lists = getattr(getattr(feature, "feature", None), "names", None)
    if not names and not names_in_lists:
        return table
    numbers = table.column(LABEL).to_pylist()
    if names:
        labels = pa.array([_named(number, names) for number in numbers], pa.string())
    else:
        lists = [_all_named(row, names_in_lists or ()) for row in numbers]
        labels = pa.array(lists, pa.list_(pa.string()))
    place = table.schema.get_field_index(LABEL)
    return table.set_column(place, LABEL, pa.chunked_array([labels]))


def _named(number: int | None, names: Sequence[str]) -> str | None:
    return names[number] if number is not None and number >= 0 else None


def _all_named(numbers: Sequence[int] | None, names: Sequence[str]) -> list[str | None] | None:
    return None if numbers is None else [_named(number, names) for number in numbers]


def _content_digest(table: pa.Table) -> str:
    """A hub data set has no one file whose bytes stand for it: its rows do."""
    digest = hashlib.sha256()
    for start in range(0, table.num_rows, _HASHED_ROWS):
        rows = table.slice(start, _HASHED_ROWS).to_pydict()
        digest.update(json.dumps(rows, sort_keys=True).encode())
    return digest.hexdigest()
