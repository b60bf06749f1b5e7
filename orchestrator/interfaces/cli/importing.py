"""`orchestrator import`: another tool's configuration as a spec, and what it could not say."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from orchestrator.interfaces.cli.options import command_line
from orchestrator.interfaces.cli.output import json_option, print_json, say, style

if TYPE_CHECKING:
    from orchestrator.specs.foreign import Translated


@click.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File to write; absent: stdout.",
)
@click.option("--name", help="Name of the job; absent: by the file.")
@click.option("--force", is_flag=True, help="Overwrite the file if it exists.")
@json_option
def import_spec(
    file: Path, output: Path | None, name: str | None, force: bool, as_json: bool
) -> None:
    """Write a spec from a configuration of axolotl or LLaMA-Factory.

    The format is recognised by its keys. What a spec cannot say is listed with its reason; nothing
    that the file names is run.
    """
    from orchestrator.errors import InvalidInput, UserError
    from orchestrator.interfaces.cli.files import write_file
    from orchestrator.specs.document import decode, parse
    from orchestrator.specs.foreign import translate

    if output is not None and output.exists() and not force:
        raise UserError(f"{output} exists already", hint="choose another -o, or add --force")
    text, problems = decode(file.read_bytes(), file)
    document = parse(text, file=str(file))
    if problems or document.problems:
        raise InvalidInput([*problems, *document.problems])
    if not isinstance(document.data, Mapping):
        raise UserError(f"{file}: this is no mapping of settings", hint="give a YAML configuration")
    kind, found = translate(document.data, file.parent)
    spec = spec_text(found, name or _name(file), kind, file.name)
    if output is not None:
        write_file(output, spec)
    if as_json:
        left = [asdict(entry) for entry in found.left_out]
        shown = None if output is None else str(output)
        print_json({"format": kind, "file": shown, "spec": spec, "left_out": left})
        return
    if output is None:
        click.echo(spec, nl=False)
    else:
        say(f"{output}: a spec from {kind}; next: {command_line('validate', str(output))}")
    for entry in found.left_out:
        value = "" if entry.value is None else f": {entry.value!r:.60}"
        say(f"{style('left out:', fg='yellow')} {entry.key}{value} ({entry.reason})")


def spec_text(found: Translated, name: str, kind: str, source: str) -> str:
    """The spec with the remarks above their fields, and at its end what it does not say."""
    from orchestrator.specs import API_VERSION

    lines = [
        f"# From {source} ({kind}) by `orchestrator import`.",
        f"apiVersion: {API_VERSION}",
        "kind: FineTune",
        f"metadata: {{name: {name}}}",
        "spec:",
        *_fields(found.body, found.remarks, "", 2),
    ]
    if found.left_out:
        lines += ["", "# Not carried over:"]
        for entry in found.left_out:
            value = "" if entry.value is None else f" ({_flat(entry.value)})"
            lines.append(f"#   {entry.key}{value}: {entry.reason}")
    return "\n".join(lines) + "\n"


def _fields(
    body: Mapping[str, Any], remarks: Mapping[str, str], parent: str, indent: int
) -> Iterator[str]:
    lead = " " * indent
    for key, value in body.items():
        path = f"{parent}.{key}" if parent else key
        if path in remarks:
            yield f"{lead}# {remarks[path]}"
        if isinstance(value, Mapping) and _is_long(value, path, remarks):
            yield f"{lead}{key}:"
            yield from _fields(value, remarks, path, indent + 2)
        elif isinstance(value, list) and value and isinstance(value[0], Mapping):
            yield f"{lead}{key}:"
            yield from (f"{lead}  - {_inline(entry)}" for entry in value)
        else:
            yield f"{lead}{key}: {_inline(value)}"


def _is_long(value: Mapping[str, Any], path: str, remarks: Mapping[str, str]) -> bool:
    """Whether a mapping needs lines of its own."""
    has_remark = any(remark.startswith(f"{path}.") for remark in remarks)
    return (
        has_remark or len(value) > 3 or any(isinstance(v, Mapping | list) for v in value.values())
    )


def _inline(value: Any) -> str:
    import json

    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_inline(item)}" for key, item in value.items()) + "}"
    return json.dumps(value, ensure_ascii=False)


def _flat(value: Any) -> str:
    return " ".join(str(value).split())[:80]


def _name(file: Path) -> str:
    import re

    return re.sub(r"[^a-z0-9]+", "-", file.stem.lower()).strip("-")[:63].strip("-") or "imported"
