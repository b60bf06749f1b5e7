"""`orchestrator data`: what a spec's data look like to the model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from orchestrator.interfaces.cli.options import set_option, spec_argument
from orchestrator.interfaces.cli.output import console, json_option, print_json, say, style

if TYPE_CHECKING:
    from orchestrator.inspect.data import DataFacts
    from orchestrator.specs import FineTuneSpec


@click.group()
def data() -> None:
    """Look at the data as the model will see it."""


@data.command()
@spec_argument
@set_option
@click.option("--domain", help="Domain of the rows shown; absent: the first that has the split.")
@click.option(
    "--split",
    type=click.Choice(["train", "valid", "test"]),
    default="train",
    show_default=True,
    help="Split of the rows shown.",
)
@click.option(
    "--rows",
    type=click.IntRange(min=0),
    default=5,
    show_default=True,
    help="How many rows to show.",
)
@json_option
def preview(
    spec: Path,
    sets: tuple[str, ...],
    domain: str | None,
    split: Literal["train", "valid", "test"],
    rows: int,
    as_json: bool,
) -> None:
    """Show rows with their tokens, and figures of each split.

    Tokens are shown after truncation, with the special ones. The figures are of each split that the
    job reads; a split marked * is held out of train by `data.valid_fraction`.
    """
    from orchestrator.inspect.data import read_tables
    from orchestrator.inspect.labels import form_of
    from orchestrator.inspect.tokens import token_facts
    from orchestrator.inspect.validation import validate_all
    from orchestrator.interfaces.cli import preview as view
    from orchestrator.interfaces.cli.remote import fetch_with, settings_for, tokenizer_of
    from orchestrator.specs.method import splits_texts
    from orchestrator.specs.task_checks import target_length

    settings = settings_for()
    fetch = fetch_with(settings)
    validated = validate_all(spec, sets, fetch=fetch)
    loaded, facts = validated.loaded, validated.data
    assert facts is not None, "the data were to be read"
    body = loaded.spec.spec
    _refuse_custom(body, len(facts.digests))
    chosen = view.chosen_split(body.data, facts, domain, split)
    tables = read_tables(body, base_dir=loaded.base_dir, fetch=fetch)
    tokenizer = tokenizer_of(loaded, settings)
    max_length = body.training.max_length
    lengths, split_texts = (max_length, target_length(body)), splits_texts(body.method)
    tokens = token_facts(tables, tokenizer, *lengths, split=split_texts) if tokenizer else None
    some = tables[chosen].slice(0, rows)
    seeing = view.Seeing(facts.labels, tokenizer, view.limits_of(body), form_of(body.task))
    shown = view.seen_rows(some, seeing)
    if as_json:
        print_json(view.document(chosen, facts, body, shown, tokens))
        return
    out = console()
    if shown:
        title = f"{chosen[0]}/{chosen[1]}, cut to {max_length} tokens"
        out.print(*view.row_views(shown, title), sep="\n")
    out.print(view.splits_table(facts, tokens))
    _tell_of(body, facts, has_tokens=tokenizer is not None)


def _tell_of(body: FineTuneSpec, facts: DataFacts, *, has_tokens: bool) -> None:
    """What is to be known of the rows and figures that were shown."""
    from orchestrator.interfaces.cli.preview import draws_table

    if any(split_facts.derived for split_facts in facts.splits.values()):
        click.echo(f"* held out of train by data.valid_fraction {body.data.valid_fraction}")
    if len(facts.draws) > 1 or body.data.mixing is not None:
        console().print()
        console().print(draws_table(facts.draws))
    if not has_tokens:
        say("The base model has no tokenizer.json, so its tokens cannot be shown here.")
    if body.data.transform is not None:
        say(f"Rows are shown as the files have them: {body.data.transform} changes them later.")
    for warning in facts.warnings:
        say(f"{style('warning:', fg='yellow')} {warning}")


@data.command()
@spec_argument
@set_option
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Also write it to a file: .html is one page that stands alone, .md Markdown.",
)
@json_option
def report(spec: Path, sets: tuple[str, ...], output: Path | None, as_json: bool) -> None:
    """Report what could mislead: skew, leaks between splits and domains, words that tell labels.

    Rows are compared by what a model reads of them; nothing is trained and nothing changed.
    """
    from orchestrator.inspect.data import read_tables
    from orchestrator.inspect.data_report import data_report
    from orchestrator.inspect.validation import validate_all
    from orchestrator.interfaces.cli import datareport as view
    from orchestrator.interfaces.cli.files import write_file
    from orchestrator.interfaces.cli.remote import fetch_with, settings_for

    if output is not None and output.suffix.lower() not in (".html", ".md"):
        raise click.UsageError(f"{output}: a report is written as .html or .md")
    fetch = fetch_with(settings_for())
    validated = validate_all(spec, sets, fetch=fetch)
    loaded, facts = validated.loaded, validated.data
    assert facts is not None, "the data were to be read"
    body, name = loaded.spec.spec, loaded.spec.metadata.name
    _refuse_custom(body, len(facts.digests))
    tables = read_tables(body, base_dir=loaded.base_dir, fetch=fetch)
    found = data_report(facts, tables)
    if output is not None:
        is_page = output.suffix.lower() == ".html"
        write_file(output, view.html(found, name) if is_page else view.markdown(found, name))
    if as_json:
        print_json({**found.document(), "file": None if output is None else str(output)})
        return
    for table in view.rich_tables(found):
        console().print(table, "")
    for finding in found.findings:
        say(f"{style('finding:', fg='yellow')} {finding}")
    if output is not None:
        say(f"written to {output}")


def _refuse_custom(body: FineTuneSpec, num_splits: int) -> None:
    from orchestrator.errors import UserError
    from orchestrator.specs import CustomTask

    if isinstance(body.task, CustomTask):
        raise UserError(
            "a custom task's script reads the files itself: nobody else knows its rows",
            hint=f"{num_splits} splits are there; `orchestrator validate` checks the spec",
        )
