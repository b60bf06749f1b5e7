"""`orchestrator nodes`: the machines of a server's backends, and how much of them is held."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from orchestrator.interfaces.cli import figures
from orchestrator.interfaces.cli.connecting import client_for, url_option
from orchestrator.interfaces.cli.output import console, json_option, print_json

if TYPE_CHECKING:
    from orchestrator.interfaces.wire import NodeView


@click.command()
@url_option
@json_option
def nodes(url: str | None, as_json: bool) -> None:
    """List machines and what jobs hold of them."""
    with client_for(url) as client:
        found = client.nodes()
    if as_json:
        print_json({"nodes": [node.model_dump(mode="json") for node in found]})
        return
    if not found:
        click.echo("No machine is known: no backend has answered yet.")
        return
    from orchestrator.interfaces.cli.tables import plain_table

    table = plain_table("backend", "node", ">cpu", ">gpu", "kind", ">memory")
    for node in found:
        memory = f"{_size(node.used_memory_bytes)} of {_size(node.memory_bytes)}"
        table.add_row(
            node.backend,
            _name(node),
            f"{node.used_cpus:g} of {node.cpus:g}",
            f"{node.used_gpus} of {node.gpus}" if node.gpus else figures.NOTHING,
            node.accelerator or figures.NOTHING,
            memory if node.memory_bytes else figures.NOTHING,
            style=None if node.is_alive else "red",
        )
    console().print(table)


def _name(node: NodeView) -> str:
    marks = [] if node.is_alive else ["away"]
    marks += [f"{key}={value}" for key, value in node.labels.items()]
    return "\n".join([node.name, *(f"  {mark}" for mark in marks)])


def _size(num_bytes: int) -> str:
    return figures.size(num_bytes) if num_bytes else "0"
