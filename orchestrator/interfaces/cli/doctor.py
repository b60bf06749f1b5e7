"""`orchestrator doctor`: what this machine can do, and which setting came from where."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from orchestrator import __version__
from orchestrator.interfaces.cli.output import console, json_option, print_json, style

if TYPE_CHECKING:
    from orchestrator.interfaces.cli.machine import Check
    from orchestrator.settings import DescribedSetting

_MARKS = {"ok": ("✓", "green"), "warning": ("!", "yellow"), "failed": ("✗", "red")}


@click.command()
@json_option
def doctor(as_json: bool) -> int:
    """Check what this machine can do, with remedies.

    Exits with 1 when something that `run` needs is missing.
    """
    from orchestrator.interfaces.cli import machine
    from orchestrator.settings import load_settings
    from orchestrator.telemetry.logs import configure_logging

    settings = load_settings()
    os.environ.update(settings.store_environment())
    configure_logging("ERROR", settings.log_format)  # the checks tell what warnings would
    described = list(settings.described())
    found: list[Check] = []
    if as_json:
        found = list(machine.checks(settings))
        print_json(_document(found, described))
    else:
        for check in machine.checks(settings):  # each as it comes: some take seconds
            found.append(check)
            _show(check)
        _show_settings(described)
    return int(any(check.status is machine.Status.FAILED for check in found))


def _show(check: Check) -> None:
    from rich.table import Table
    from rich.text import Text

    mark, colour = _MARKS[check.status]
    row = Table.grid(padding=(0, 1, 0, 0))
    row.add_column(width=1)
    row.add_column(width=13, no_wrap=True)
    row.add_column(overflow="fold")
    row.add_row(Text(mark, style=colour), check.name, Text(check.detail))
    console().print(row)
    if check.remedy is not None:  # not wrapped: a command must stay one to copy
        click.echo(" " * 16 + style(f"→ {check.remedy}", fg=colour))


def _show_settings(settings: Sequence[DescribedSetting]) -> None:
    from rich.text import Text

    from orchestrator.interfaces.cli.tables import plain_table

    table = plain_table("setting", "value", "from")
    for setting in settings:
        value = "–" if setting.value is None else str(setting.value)
        is_default = setting.source == "default"
        table.add_row(setting.name, value, Text(setting.source, style="dim" if is_default else ""))
    out = console()
    out.print()
    out.print(table)


def _document(found: Sequence[Check], settings: Sequence[DescribedSetting]) -> dict[str, Any]:
    return {
        "version": __version__,
        "ok": all(check.status != "failed" for check in found),
        "checks": [asdict(check) for check in found],
        "settings": [
            {
                "name": setting.name,
                "value": setting.value,
                "source": setting.source,
                "description": setting.description,
            }
            for setting in settings
        ],
    }
