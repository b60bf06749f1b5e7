"""Domains and splits found in folders: `<domain>/{train,valid,test}.{jsonl,csv,parquet,tfrecord}`.

Called by `init`, which writes what is found into a spec.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import TypeAdapter, ValidationError

from orchestrator.errors import UserError
from orchestrator.specs import Split
from orchestrator.specs.base import DomainName

if TYPE_CHECKING:
    from orchestrator.inspect.files import Format

Splits = dict[Split, Path]

LAYOUT = "<domain>/{train,valid,test}.{jsonl,csv,parquet,tfrecord}"
_DOMAIN_NAME: TypeAdapter[str] = TypeAdapter(DomainName)
_FORMATS: Mapping[str, Format] = {
    ".jsonl": "jsonl",
    ".csv": "csv",
    ".parquet": "parquet",
    ".tfrecord": "tfrecord",
}
_SPLIT_NAMES: Mapping[str, Split] = {
    "train": "train",
    "valid": "valid",
    "validation": "valid",
    "val": "valid",
    "dev": "valid",
    "test": "test",
}


def domains_below(folder: Path) -> dict[str, Splits]:
    """Every folder in `folder` that holds a split, by name; or `folder` itself as one domain."""
    _require_folder(folder)
    if splits_in(folder):
        return {domain_name(folder.resolve().name): splits_in(folder)}
    found = {
        domain_name(child.name): splits
        for child in sorted(folder.iterdir())
        if child.is_dir() and not child.name.startswith(".") and (splits := splits_in(child))
    }
    if not found:
        raise UserError(f"no domains were found in {folder}", hint=f"lay it out as {LAYOUT}")
    return found


def named_domain(text: str) -> tuple[str, Splits]:
    """`camera=path/to/folder` as a name and its splits."""
    name, equals, place = text.partition("=")
    if not equals or not place:
        raise UserError(f"--domain {text}: write a name and a folder, e.g. camera=data/camera")
    folder = Path(place).expanduser()
    _require_folder(folder)
    splits = splits_in(folder)
    if not splits:
        files = ", ".join(f"{split}.jsonl" for split in ("train", "valid", "test"))
        raise UserError(f"--domain {text}: no splits were found there", hint=f"it holds {files}")
    return domain_name(name), splits


def splits_in(folder: Path) -> Splits:
    found: Splits = {}
    for file in sorted(folder.iterdir()):
        split = _SPLIT_NAMES.get(file.stem.lower())
        if split is None or file.suffix.lower() not in _FORMATS or not file.is_file():
            continue
        if split in found:
            raise UserError(
                f"{folder} holds the {split} split twice: {found[split].name} and {file.name}",
                hint="keep one of them there, or write the spec's sources by hand",
            )
        found[split] = file
    return {split: found[split] for split in ("train", "valid", "test") if split in found}


def domain_name(text: str) -> str:
    """The folder's name as a domain may be called: lower case, digits, `-` and `_`."""
    name = text.strip().lower().replace(" ", "-").replace(".", "-")
    try:
        return _DOMAIN_NAME.validate_python(name)
    except ValidationError:
        raise UserError(
            f"{text!r} cannot name a domain",
            hint="lower-case letters, digits, - and _; give one: --domain name=folder",
        ) from None


def columns_of(file: Path, given: Mapping[str, str | None]) -> dict[str, str]:
    """Role -> column of a data file: the given ones, else the likeliest by name.

    Raises:
        UserError: a column is not there, or none looks like the role.
    """
    from orchestrator.inspect.files import DataFile
    from orchestrator.inspect.readers import USUAL_NAMES, names_of

    names = names_of(DataFile(file, str(file), _FORMATS[file.suffix.lower()]))
    found: dict[str, str] = {}
    for role, chosen in given.items():
        wanted = (chosen,) if chosen is not None else USUAL_NAMES[role]
        by_lower_case = {name.lower(): name for name in reversed(names)}
        matches = [name for name in wanted if name in names]
        matches += [by_lower_case[name.lower()] for name in wanted if name.lower() in by_lower_case]
        if not matches:
            what = f"no column `{chosen}`" if chosen else f"no column that looks like the {role}"
            raise UserError(
                f"{file} has {what}; it has: {', '.join(names) or 'no columns at all'}",
                hint=f"name the right one: --column {role}=NAME",
            )
        found[role] = matches[0]
    return found


def _require_folder(folder: Path) -> None:
    if not folder.is_dir():
        what = "is a file, not a folder" if folder.exists() else "does not exist"
        raise UserError(f"{folder} {what}", hint=f"give a folder laid out as {LAYOUT}")
