"""Arguments and options that several commands share, and what is made of them."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

Decorated = TypeVar("Decorated", bound=Callable[..., Any])

spec_argument = click.argument(
    "spec",
    metavar="SPEC",
    type=click.Path(path_type=Path),  # loading says what is wrong with it
)
set_option = click.option(
    "--set",
    "sets",
    metavar="PATH=VALUE",
    multiple=True,
    help="Override a field below `spec`, e.g. --set training.epochs=3; may be repeated.",
)
store_option = click.option(
    "--store",
    metavar="URL",
    help="Object store: a folder, s3://bucket/prefix, gs:// or az://; absent: the setting's.",
)


def store_location(store: str) -> str:
    """A folder named on the command line lies below the current one, not below the spec's file."""
    return store if "://" in store else str(Path(store).expanduser().resolve())


def with_store(sets: Sequence[str], store: str | None) -> tuple[str, ...]:
    """`--store URL` as the override it stands for."""
    if store is None:
        return tuple(sets)
    return (*sets, f"output.store={json.dumps(store_location(store))}")


def command_line(*words: str, sets: Sequence[str] = (), store: str | None = None) -> str:
    """What to type next, quoted for a shell."""
    line = ["orchestrator", *words]
    for override in sets:
        line += ["--set", override]
    if store is not None:
        line += ["--store", store]
    return shlex.join(line)
