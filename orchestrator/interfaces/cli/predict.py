"""`orchestrator predict`: labels with probabilities, numbers or texts from a published model.

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
from orchestrator.specs.classification import TEXT, TEXT_PAIR

if TYPE_CHECKING:
    from orchestrator.inspect.files import DataFile
    from orchestrator.interfaces.cli.published import Pulled
    from orchestrator.worker.serving.base import Answering, Text

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
    "--text-pair",
    "pairs",
    metavar="TEXT",
    multiple=True,
    help="The second text of each --text, for a model of pairs.",
)
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
    "--text-pair-column", metavar="TEXT", help="Column of the second text; absent: text_pair."
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
    pairs: tuple[str, ...],
    file: str | None,
    out: Path | None,
    text_column: str,
    text_pair_column: str | None,
    batch_size: int,
    as_json: bool,
) -> None:
    """Label or rewrite texts with a published model.

    Without a version the model's alias `latest` is taken. A row of a file is written out as it was
    read, with `predicted_label`, `probability` and `probabilities` added; with `predicted_labels`
    where there may be several, `predicted_value` of a regression, or `predicted_text`.
    """
    if bool(texts) == (file is not None):
        raise click.UsageError("give either --text (once or more) or --file")
    if file is None:
        if out is not None or text_pair_column is not None:
            option = "--out" if out is not None else "--text-pair-column"
            raise click.UsageError(f"{option} belongs to --file")
        _predict_texts(Asked(model, store, task), _asked(texts, pairs), batch_size, as_json=as_json)
        return
    if pairs:
        raise click.UsageError("--text-pair belongs to --text; a file has --text-pair-column")
    from orchestrator.interfaces.cli.texts import count_rows, text_file

    with text_file(file) as source:
        pulled = _pulled(Asked(model, store, task))
        columns = (text_column, _pair_column(pulled, text_pair_column))
        num_rows = count_rows(source, *columns)
        rows = _predicted_rows(_loaded(pulled), source, columns, batch_size, num_rows)
        if out is not None:
            _write_rows(pulled, rows, out, as_json=as_json)
        elif as_json:
            print_json({"model": pulled.name, "predictions": list(rows)})
        else:
            for row in rows:
                click.echo(json_line(row))


def _asked(texts: Sequence[str], pairs: Sequence[str]) -> list[Text]:
    """What was typed, each text beside its second."""
    for option, given in (("--text", texts), ("--text-pair", pairs)):
        for number, text in enumerate(given, start=1):
            if not text.strip():
                raise click.UsageError(f"{option} number {number} is empty")
    if not pairs:
        return list(texts)
    if len(pairs) != len(texts):
        raise click.UsageError(
            f"give a --text-pair for each --text: {len(texts)}, not {len(pairs)}"
        )
    return list(zip(texts, pairs, strict=True))


def _predict_texts(asked: Asked, texts: Sequence[Text], batch_size: int, *, as_json: bool) -> None:
    pulled = _pulled(asked)
    if pulled.reads_pairs not in (None, not isinstance(texts[0], str)):
        told = "reads two texts: give --text-pair beside --text"
        if not pulled.reads_pairs:
            told = "reads one text: leave --text-pair out"
        raise click.UsageError(f"{pulled.name} {told}")
    found = _loaded(pulled).predict(texts, batch_size=batch_size)
    rows = [_as_row(text) | answer.fields() for text, answer in zip(texts, found, strict=True)]
    if as_json:
        print_json({"model": pulled.name, "predictions": rows})
        return
    from orchestrator.interfaces.cli.answers import answers_table

    console().print(answers_table(rows))


def _as_row(text: Text) -> dict[str, Any]:
    return {TEXT: text} if isinstance(text, str) else {TEXT: text[0], TEXT_PAIR: text[1]}


def _pair_column(pulled: Pulled, given: str | None) -> str | None:
    """The column of second texts, where the model reads pairs."""
    if pulled.reads_pairs is False and given is not None:
        raise click.UsageError(f"{pulled.name} reads one text: leave --text-pair-column out")
    return given or (TEXT_PAIR if pulled.reads_pairs else None)


def _pulled(asked: Asked) -> Pulled:
    """The model in the cache."""
    from orchestrator.interfaces.cli.published import of_task, pull

    return of_task(pull(asked.model, asked.store), asked.task)


def _loaded(pulled: Pulled) -> Answering:
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")  # transformers draws one for loading
    from orchestrator.worker.serving.loading import load_predictor

    try:
        return load_predictor(pulled.folder, pulled.spec, pulled.base)
    except ModuleNotFoundError as error:
        raise MissingExtra(
            f"predict needs {error.name}, which is not installed",
            hint="pip install 'finetune-orchestrator[worker]'",
        ) from None


def _predicted_rows(
    predictor: Answering,
    source: DataFile,
    columns: tuple[str, str | None],
    batch_size: int,
    num_rows: int,
) -> Iterator[dict[str, Any]]:
    from orchestrator.interfaces.cli.counting import counted
    from orchestrator.interfaces.cli.texts import batches

    column, pair_column = columns
    with counted("rows predicted", num_rows) as advance:
        for rows in batches(source, column, batch_size * _BATCHES_AT_ONCE, pair_column):
            predictions = predictor.predict([row.read for row in rows], batch_size=batch_size)
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
            one = [row["predicted_label"]] if "predicted_label" in row else []
            counts.update(row.get("predicted_labels", one))
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
