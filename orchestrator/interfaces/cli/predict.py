"""`orchestrator predict`: labels with probabilities, or texts, from a published model.

The one command that imports the worker to use it, and only once all input is known to be good.
"""

from __future__ import annotations

import os
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from orchestrator.errors import MissingExtra
from orchestrator.interfaces.cli import figures
from orchestrator.interfaces.cli.options import store_option
from orchestrator.interfaces.cli.output import console, json_line, json_option, print_json, say

if TYPE_CHECKING:
    from orchestrator.inspect.files import DataFile
    from orchestrator.interfaces.cli.published import Pulled
    from orchestrator.worker.serving.loading import Answering

_BATCHES_AT_ONCE = 16  # texts of like length share a batch; more at once waste less on padding


@dataclass(frozen=True, slots=True)
class Asked:
    """Which model answers."""

    model: str
    store: str | None
    task: str | None


@click.command()
@click.argument("model", metavar="NAME[@N|@ALIAS]")
@store_option
@click.option("--task", metavar="TASK", help="Which task of a model that has several.")
@click.option("--text", "texts", metavar="TEXT", multiple=True, help="A text; may be repeated.")
@click.option(
    "--file", metavar="FILE", help="Rows to read: .jsonl, .csv or .parquet; - is JSONL from stdin."
)
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the rows with their predictions to this JSON Lines file instead of stdout.",
)
@click.option(
    "--text-column", default="text", show_default=True, help="Column that holds the text."
)
@click.option(
    "--batch-size",
    type=click.IntRange(min=1),
    default=32,
    show_default=True,
    help="Texts the model takes at once.",
)
@json_option
def predict(
    model: str,
    store: str | None,
    task: str | None,
    texts: tuple[str, ...],
    file: str | None,
    out: Path | None,
    text_column: str,
    batch_size: int,
    as_json: bool,
) -> None:
    """Label or rewrite texts with a published model.

    Without a version the model's alias `latest` is taken. A row of a file is written out as it was
    read, with `predicted_label`, `probability` and `probabilities` added, or `predicted_text`.
    """
    if bool(texts) == (file is not None):
        raise click.UsageError("give either --text (once or more) or --file")
    if file is None:
        if out is not None:
            raise click.UsageError("--out belongs to --file")
        _predict_texts(Asked(model, store, task), texts, batch_size, as_json=as_json)
        return
    from orchestrator.interfaces.cli.texts import count_rows, text_file

    with text_file(file) as source:
        num_rows = count_rows(source, text_column)
        pulled, predictor = _ready(Asked(model, store, task))
        rows = _predicted_rows(predictor, source, text_column, batch_size, num_rows)
        if out is not None:
            _write_rows(pulled, rows, out, as_json=as_json)
        elif as_json:
            print_json({"model": pulled.name, "predictions": list(rows)})
        else:
            for row in rows:
                click.echo(json_line(row))


def _predict_texts(asked: Asked, texts: Sequence[str], batch_size: int, *, as_json: bool) -> None:
    for number, text in enumerate(texts, start=1):
        if not text.strip():
            raise click.UsageError(f"--text number {number} is empty")
    pulled, predictor = _ready(asked)
    predictions = predictor.predict(texts, batch_size=batch_size)
    if as_json:
        rows = [
            {"text": text} | prediction.fields()
            for text, prediction in zip(texts, predictions, strict=True)
        ]
        print_json({"model": pulled.name, "predictions": rows})
        return
    from rich.text import Text

    from orchestrator.interfaces.cli.tables import plain_table

    found = [prediction.fields() for prediction in predictions]
    is_label = "predicted_label" in found[0]
    table = plain_table("label", ">probability", "text") if is_label else plain_table("", "text")
    for text, fields in zip(texts, found, strict=True):
        if is_label:
            label = Text(fields["predicted_label"], style="bold")
            table.add_row(label, figures.score(fields["probability"]), Text(text))
        else:
            table.add_row("reads", Text(text))
            table.add_row("writes", Text(fields["predicted_text"], style="bold"))
    console().print(table)


def _ready(asked: Asked) -> tuple[Pulled, Answering]:
    """The model in the cache, and loaded."""
    from orchestrator.interfaces.cli.published import of_task, pull

    pulled = of_task(pull(asked.model, asked.store), asked.task)
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")  # transformers draws one for loading
    from orchestrator.worker.serving.loading import load_predictor

    try:
        return pulled, load_predictor(pulled.folder, pulled.spec, pulled.base)
    except ModuleNotFoundError as error:
        raise MissingExtra(
            f"predict needs {error.name}, which is not installed",
            hint="pip install 'finetune-orchestrator[worker]'",
        ) from None


def _predicted_rows(
    predictor: Answering,
    source: DataFile,
    column: str,
    batch_size: int,
    num_rows: int,
) -> Iterator[dict[str, Any]]:
    from orchestrator.interfaces.cli.counting import counted
    from orchestrator.interfaces.cli.texts import batches

    with counted("rows predicted", num_rows) as advance:
        for rows in batches(source, column, batch_size * _BATCHES_AT_ONCE):
            predictions = predictor.predict([row.text for row in rows], batch_size=batch_size)
            for row, prediction in zip(rows, predictions, strict=True):
                yield row.fields | prediction.fields()
            advance(len(rows))


def _write_rows(
    pulled: Pulled, rows: Iterator[dict[str, Any]], out: Path, *, as_json: bool
) -> None:
    from orchestrator.interfaces.cli.files import replacing

    started = time.monotonic()
    counts: Counter[str] = Counter()
    num_rows = 0
    with replacing(out) as stream:
        for row in rows:
            stream.write(json_line(row) + "\n")
            if "predicted_label" in row:
                counts[row["predicted_label"]] += 1
            num_rows += 1
    seconds = time.monotonic() - started
    labels = dict(counts.most_common())
    if as_json:
        document = {"model": pulled.name, "out": str(out), "rows": num_rows}
        print_json(document | {"labels": labels, "seconds": round(seconds, 3)})
        return
    shares = ", ".join(f"{label} {count:,}" for label, count in labels.items())
    told = f"{num_rows:,} rows in {figures.duration(seconds)}"
    say(f"{told}: {shares}" if shares else told)
    click.echo(str(out), file=sys.stdout)
