"""What goes to stdout and stderr, and how. Every command prints through here.

stdout carries the answer, stderr everything said on the way: so `--json` and pipes stay clean.
rich is imported only where a table or a live display is really drawn.
"""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rich.console import Console

json_option: Callable[[Any], Any] = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON document on stdout and nothing else."
)


def print_json(document: object) -> None:
    """One JSON document; numbers that JSON cannot carry (NaN, infinity) become null."""
    click.echo(_dumps(document, indent=2))


def json_line(document: object) -> str:
    """One line of JSON Lines."""
    return _dumps(document)


def console(*, err: bool = False) -> Console:
    """A rich console on stdout or stderr; plain text when piped or under NO_COLOR.

    What is shown is often a user's own: brackets and colons in it mean nothing.
    """
    from rich.console import Console

    return Console(stderr=err, highlight=False, markup=False, emoji=False)


def printable(text: str) -> str:
    """Text of others, which shall not move the cursor or colour what comes after it."""
    return "".join(c if c.isprintable() or c in "\n\t" else "?" for c in text)


def say(text: str) -> None:
    """A remark on the way, to stderr."""
    click.echo(text, err=True)


def style(text: str, **how: Any) -> str:
    """Coloured text, which stays plain under NO_COLOR (click takes it out where no terminal is)."""
    return text if os.environ.get("NO_COLOR") else click.style(text, **how)


def can_draw(stream: Any = None) -> bool:
    """Whether a live display can be drawn there: a terminal that moves its cursor."""
    stream = sys.stderr if stream is None else stream
    return bool(stream.isatty()) and os.environ.get("TERM", "") not in ("", "dumb")


def shown_path(path: Path | str) -> str:
    """The path as a person would type it here: relative where it lies below."""
    try:
        return str(Path(path).relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def _dumps(document: object, indent: int | None = None) -> str:
    """Readable where stdout can carry every character, escaped where it cannot."""
    is_utf8 = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
    return json.dumps(
        _plain(document), indent=indent, ensure_ascii=not is_utf8, allow_nan=False, default=str
    )


def _plain(value: object) -> object:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    return value
