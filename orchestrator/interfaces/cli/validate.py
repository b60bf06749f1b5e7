"""`orchestrator validate`: every problem of a spec and its data, one a line, and nothing else."""

from __future__ import annotations

from pathlib import Path

import click

from orchestrator.interfaces.cli.options import set_option, spec_argument
from orchestrator.interfaces.cli.output import json_option, print_json, shown_path, style


@click.command()
@spec_argument
@set_option
@click.option("--no-data", is_flag=True, help="Check the spec alone; read no data.")
@json_option
def validate(spec: Path, sets: tuple[str, ...], no_data: bool, as_json: bool) -> None:
    """Check a spec and list every problem in it.

    Reads the data the spec names, but not the model; `plan` does that too. Each problem is a line
    `file:line: field: message (what to write)`. Exits with 2 when there is one.
    """
    from orchestrator.inspect.validation import validate_all
    from orchestrator.interfaces.cli.remote import fetch_with, settings_for

    settings = settings_for()
    validated = validate_all(
        spec,
        sets,
        fetch=fetch_with(settings),
        read_data=not no_data,
        allow_code=settings.user_code != "refused",
    )
    found, data = validated.loaded.spec, validated.data
    warnings = [] if data is None else list(data.warnings)
    if as_json:
        print_json(
            {
                "valid": True,
                "kind": found.kind,
                "name": found.metadata.name,
                "file": str(spec),
                "warnings": warnings,
            }
        )
        return
    for warning in warnings:
        click.echo(f"{style('warning:', fg='yellow')} {warning}", err=True)
    click.echo(f"{shown_path(spec)}: valid ({found.kind} {found.metadata.name})")
