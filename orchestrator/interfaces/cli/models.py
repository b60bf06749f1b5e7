"""`orchestrator models`: what is published in a store, and what can be done with it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from orchestrator.errors import OrchestratorError
from orchestrator.interfaces.cli import figures
from orchestrator.interfaces.cli.options import store_option
from orchestrator.interfaces.cli.output import (
    console,
    json_option,
    print_json,
    say,
    shown_path,
    style,
)

if TYPE_CHECKING:
    from orchestrator.interfaces.cli.published import Summary
    from orchestrator.storage.registry import ModelRegistry, ModelVersion

DAMAGED = 1

_ref_argument = click.argument("ref", metavar="NAME[@N|@ALIAS]")


@click.group(invoke_without_command=True)
@store_option
@json_option
@click.pass_context
def models(ctx: click.Context, store: str | None, as_json: bool) -> None:
    """List, show, pull, verify and alias published models.

    Without a command it lists them.
    """
    if ctx.invoked_subcommand is None:
        ctx.invoke(list_models, store=store, as_json=as_json)
    elif store is not None or as_json:
        option = "--store" if store is not None else "--json"
        command = f"orchestrator models {ctx.invoked_subcommand}"
        raise click.UsageError(f"write {option} behind the command: {command} … {option}")


@models.command("list")
@store_option
@json_option
def list_models(store: str | None, as_json: bool) -> None:
    """List the models of a store with their newest figures."""
    from orchestrator.interfaces.cli.published import summaries

    registry, place = _registry(store)
    found = summaries(registry)
    if as_json:
        print_json({"store": place, "models": [_summary_document(summary) for summary in found]})
        return
    if not found:
        click.echo(f"There is no model in {place} yet; `orchestrator run SPEC` publishes one.")
        return
    from orchestrator.interfaces.cli.tables import plain_table

    table = plain_table("name", ">versions", ">size", "published", "on test")
    for summary in found:
        table.add_row(
            f"{summary.name}@{summary.latest}",
            str(len(summary.versions)),
            figures.size(summary.size_bytes),
            figures.age(time.time() - summary.created_at.timestamp()),
            _values(summary),
        )
    console().print(table)


@models.command()
@_ref_argument
@store_option
@json_option
def show(ref: str, store: str | None, as_json: bool) -> None:
    """Show a version: its figures, files, aliases and lineage."""
    from orchestrator.interfaces.cli import published

    registry, _ = _registry(store)
    version = registry.resolve(ref)
    metrics = published.document(registry, version, "metrics.json")
    lineage = published.document(registry, version, "lineage.json")
    aliases = [a for a, n in registry.aliases(version.name).items() if n == version.version]
    if as_json:
        print_json(
            _version_document(version)
            | {"aliases": aliases, "metrics": metrics, "lineage": lineage}
        )
        return
    from orchestrator.interfaces.cli.tables import labelled, metrics_table

    out = console()
    out.print(labelled([*_described(version, aliases, lineage), *_gates(metrics)]))
    if test := metrics.get("test"):
        shown = published.shown_metrics(published.resolved_spec(lineage), test)
        out.print()
        out.print(metrics_table(test, metrics.get("before") or {}, shown))
    out.print()
    out.print(_files_table(version))


@models.command()
@_ref_argument
@click.argument("folder", type=click.Path(path_type=Path))
@store_option
@json_option
def pull(ref: str, folder: Path, store: str | None, as_json: bool) -> None:
    """Copy a version to a new folder, every file verified.

    `AutoModelForSequenceClassification.from_pretrained(FOLDER)` loads it. Of an adapter
    `PeftModel.from_pretrained(BASE, FOLDER)` does, and where its base lies here is told.
    """
    registry, _ = _registry(store)
    version = registry.resolve(ref)
    registry.pull(version, folder)
    base, why = _base_beside(version, folder, store)
    if as_json:
        print_json(_version_document(version) | {"folder": str(folder), "base": base})
        return
    size = figures.size(version.size_bytes)
    click.echo(f"{version.ref}: {len(version.files)} files, {size}, in {shown_path(folder)}")
    if base is not None:
        click.echo(f"It is an adapter; its base lies in {base}")
    elif why:
        say(f"{style('warning:', fg='yellow')} {why}")


@models.command()
@_ref_argument
@store_option
@json_option
def verify(ref: str, store: str | None, as_json: bool) -> int:
    """Hash every file of a version again.

    Exits with 1 when it is damaged.
    """
    registry, _ = _registry(store)
    version = registry.resolve(ref)
    issues = registry.verify(version)
    if as_json:
        told = [issue.model_dump(mode="json") for issue in issues]
        print_json({"model": version.ref, "url": version.url, "ok": not issues, "issues": told})
    elif issues:
        for issue in issues:
            click.echo(f"{style(issue.kind, fg='red')}  {issue.path}")
        click.echo(f"{version.ref} is damaged; train it again or restore {version.url}", err=True)
    else:
        size = figures.size(version.size_bytes)
        click.echo(f"{version.ref}: all {len(version.files)} files ({size}) are as published")
    return DAMAGED if issues else 0


@models.command()
@_ref_argument
@click.argument("alias")
@click.option("--remove", is_flag=True, help="Take the alias away from the model.")
@store_option
@json_option
def alias(ref: str, alias: str, remove: bool, store: str | None, as_json: bool) -> None:
    """Give a version another name, or take one away.

    `models alias sentiment@3 production` makes `sentiment@production` stand for version 3; `latest`
    always stands for the newest.
    """
    registry, _ = _registry(store)
    if remove:
        name = ref.partition("@")[0]
        registry.remove_alias(name, alias)
        text = f"{name}@{alias} is no more"
    else:
        version = registry.resolve(ref)
        name = version.name
        registry.set_alias(name, alias, version.version)
        text = f"{name}@{alias} is {version.ref}"
    if as_json:
        print_json({"model": name, "aliases": registry.aliases(name)})
    else:
        click.echo(text)


def _values(summary: Summary) -> str:
    values = ", ".join(f"{name} {figures.score(value)}" for name, value in summary.values.items())
    return f"{summary.metric}: {values}" if values else figures.NOTHING


def _base_beside(
    version: ModelVersion, folder: Path, store: str | None
) -> tuple[str | None, str | None]:
    """Where the base of a pulled adapter lies, or why that cannot be told."""
    from orchestrator.interfaces.cli.published import base_of
    from orchestrator.interfaces.cli.remote import settings_for

    try:
        base = base_of(version.ref, folder, settings_for(store))
    except OrchestratorError as error:
        return None, error.message  # the files are here, whatever became of their base
    return (str(base) if base is not None else None), None


def _registry(store: str | None) -> tuple[ModelRegistry, str]:
    """The registry of `--store` or the setting's, and where it is."""
    from orchestrator.interfaces.cli.remote import registry_of, settings_for

    settings = settings_for(store)
    return registry_of(settings), settings.store


def _described(
    version: ModelVersion, aliases: list[str], lineage: dict[str, Any]
) -> list[tuple[str, str]]:
    from orchestrator.interfaces.cli.published import resolved_spec

    spec = resolved_spec(lineage)
    age = figures.age(time.time() - version.created_at.timestamp())
    rows = [
        ("Model", version.ref),
        ("Where", version.url),
        ("Aliases", ", ".join(aliases) or figures.NOTHING),
        ("Published", f"{version.created_at:%Y-%m-%d %H:%M} UTC, {age}"),
        ("Size", f"{figures.size(version.size_bytes)} in {len(version.files)} files"),
        ("Job", lineage.get("job") or version.run),
    ]
    if base := lineage.get("base"):
        rows.append(("Base", f"{base.get('name')}, sha256 {str(base.get('digest'))[:12]}"))
    if whole := lineage.get("adapter_of"):
        text = f"of {whole.get('name')}, sha256 {str(whole.get('digest'))[:12]}"
        rows.append(("Adapter", text))
    task = spec.get("task", {})
    if task.get("type") == "custom":
        rows.append(("Script", str(task.get("entrypoint"))))
    elif spec:
        method = spec.get("method", {}).get("type", "full")
        trained_on = ", ".join(spec.get("data", {}).get("train_on") or ())
        rows.append(("Method", f"{method} on {trained_on}"))
    if tasks := spec.get("tasks"):
        told = [f"{name} ({t['type']} on {', '.join(t['domains'])})" for name, t in tasks.items()]
        rows.append(("Tasks", "; ".join(told)))
    if code := lineage.get("code"):
        rows.append(("Code", f"sha256 {code['sha256'][:12]}, {len(code['files'])} files"))
    if seconds := lineage.get("seconds"):
        attempts = len(lineage.get("attempts") or ()) or 1
        plural = "s" if attempts > 1 else ""
        total = figures.duration(sum(seconds.values()))
        rows.append(("Time", f"{total} in {attempts} attempt{plural}"))
    if commit := lineage.get("git_commit"):
        rows.append(("Commit", commit))
    return rows


def _gates(metrics: dict[str, Any]) -> list[tuple[str, str]]:
    """Each gate on a line, and whether the version was promoted when it was published."""
    from orchestrator.records import GateResult

    gates = [GateResult.model_validate(found) for found in metrics.get("gates") or ()]
    if not gates:
        return []
    rows = [("" if number else "Gates", gate.text) for number, gate in enumerate(gates)]
    return [*rows, ("Promoted", "yes" if metrics.get("promoted") else "no")]


def _files_table(version: ModelVersion) -> Any:
    from orchestrator.interfaces.cli.tables import plain_table

    table = plain_table("file", ">size", "sha256")
    for file in version.files:
        table.add_row(file.path, figures.size(file.size_bytes), file.sha256[:16])
    return table


def _summary_document(summary: Summary) -> dict[str, Any]:
    return {
        "name": summary.name,
        "latest": summary.latest,
        "versions": summary.versions,
        "aliases": {**summary.aliases, "latest": summary.latest},
        "published": summary.created_at.isoformat(),
        "size_bytes": summary.size_bytes,
        "metric": summary.metric,
        "values": summary.values,
    }


def _version_document(version: ModelVersion) -> dict[str, Any]:
    fields = version.model_dump(mode="json")
    return {"model": version.ref} | fields
