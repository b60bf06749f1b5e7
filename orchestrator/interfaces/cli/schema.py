"""`orchestrator schema`: the JSON Schema of specs, for editors and for other programs."""

from __future__ import annotations

from pathlib import Path

import click

from orchestrator.interfaces.cli.files import write_file
from orchestrator.interfaces.cli.output import json_option, print_json


@click.command()
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write it to this file instead of stdout.",
)
@json_option
def schema(output: Path | None, as_json: bool) -> None:
    """Print the JSON Schema of specs.

    An editor that knows it completes and checks specs while they are written.
    """
    from orchestrator.specs.schema import schema_text

    if output is None:
        click.echo(schema_text(), nl=False)
        return
    write_file(output, schema_text())
    if as_json:
        print_json({"file": str(output)})
