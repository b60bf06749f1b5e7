"""Rows as the model will see them: text, tokens after truncation, label. Called by `data preview`.

Reads tokenizer.json with the tokenizers library, as the plan does; a test holds its tokens equal to
those of the worker.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from orchestrator.errors import UserError
from orchestrator.inspect.data import DataFacts, SplitKey
from orchestrator.inspect.tokens import TokenFacts
from orchestrator.interfaces.cli import figures
from orchestrator.interfaces.cli.tables import plain_table
from orchestrator.specs.data import DataSpec, Split

_MOST_CLASSES = 8


@dataclass(frozen=True, slots=True)
class SeenRow:
    """One row; `tokens` are those that are kept, special tokens included."""

    text: str
    label: str
    label_id: int
    tokens: tuple[str, ...] | None = None  # None where the base has no tokenizer.json
    token_ids: tuple[int, ...] | None = None
    num_cut: int | None = None  # tokens beyond max_length


def seen_rows(
    table: pa.Table, labels: Sequence[str], tokenizer_file: Path | None, max_length: int
) -> list[SeenRow]:
    """The rows of a table with `text` and `label`, tokenized and cut as training does it."""
    ids = {label: number for number, label in enumerate(labels)}
    columns = table.column("text").to_pylist(), table.column("label").to_pylist()
    rows = [SeenRow(text, label, ids[label]) for text, label in zip(*columns, strict=True)]
    if tokenizer_file is None:
        return rows
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(tokenizer_file))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    whole = tokenizer.encode_batch(columns[0])
    tokenizer.enable_truncation(max_length)
    kept = tokenizer.encode_batch(columns[0])
    return [
        replace(
            row,
            tokens=tuple(part.tokens),
            token_ids=tuple(part.ids),
            num_cut=len(all_of_it) - len(part),
        )
        for row, all_of_it, part in zip(rows, whole, kept, strict=True)
    ]


def chosen_split(data: DataSpec, facts: DataFacts, domain: str | None, split: Split) -> SplitKey:
    """What to show: the named domain, or the first one that has the split."""
    if domain is not None and domain not in data.domains:
        known = ", ".join(data.domains)
        raise UserError(f"--domain {domain}: there is no such domain", hint=f"one of {known}")
    found = [key for key in facts.splits if key[1] == split and domain in (None, key[0])]
    if found:
        return found[0]
    splits = [f"{name}/{kind}" for name, kind in facts.splits if domain in (None, name)]
    where = f"domain {domain}" if domain else "no domain"
    verb = "has no" if domain else "has a"
    raise UserError(f"{where} {verb} {split} split that is used", hint=f"used: {', '.join(splits)}")


def row_views(rows: Sequence[SeenRow], title: str) -> list[RenderableType]:
    """Each row as a little block: what it is, its text, its tokens."""
    views: list[RenderableType] = [Text(title, style="bold"), Text()]
    for number, row in enumerate(rows, start=1):
        head = Text.assemble((f"{number}  ", "dim"), (row.label, "bold green"))
        head.append(f" (class {row.label_id})", style="dim")
        block = Table.grid(padding=(0, 2, 0, 0))
        block.add_column(style="dim", no_wrap=True)
        block.add_column(overflow="fold")
        block.add_row("   text", Text(row.text))
        if row.tokens is not None:
            head.append(f"  {len(row.tokens)} tokens", style="dim")
            block.add_row("   tokens", Text(" ".join(row.tokens), style="cyan"))
        if row.num_cut:
            head.append(f", {row.num_cut} more are cut off", style="yellow")
        views += [head, block, Text()]
    return views


def splits_table(facts: DataFacts, tokens: Mapping[SplitKey, TokenFacts] | None) -> Table:
    """Every split the job reads: rows, lengths, how much is cut, and its classes."""
    table = plain_table("domain", "split", ">rows", ">tokens", ">p95", ">cut", "classes")
    for key, split in facts.splits.items():
        lengths = (tokens or {}).get(key)
        cells = (
            [f"{lengths.mean:.0f}", str(lengths.p95), figures.percent(lengths.truncated_share)]
            if lengths is not None
            else [figures.NOTHING] * 3
        )
        name = f"{split.split}*" if split.derived else split.split
        counts = class_counts_text(split.class_counts)
        table.add_row(split.domain, name, f"{split.num_rows:,}", *cells, counts)
    return table


def class_counts_text(counts: Mapping[str, int]) -> str:
    """The classes with their rows; of many the commonest."""
    shown = dict(counts)
    if len(counts) > _MOST_CLASSES:
        commonest = sorted(counts, key=lambda label: -counts[label])[:_MOST_CLASSES]
        shown = {label: counts[label] for label in commonest}
    text = ", ".join(f"{label} {count:,}" for label, count in shown.items())
    more = len(counts) - len(shown)
    return f"{text}, and {more} more classes" if more else text


def document(
    chosen: SplitKey,
    facts: DataFacts,
    max_length: int,
    shown: Sequence[SeenRow],
    tokens: Mapping[SplitKey, TokenFacts] | None,
) -> dict[str, Any]:
    """What `--json` prints: the rows shown, then every split's figures."""
    return {
        "domain": chosen[0],
        "split": chosen[1],
        "labels": facts.labels,
        "max_length": max_length,
        "rows": [row_document(row) for row in shown],
        "splits": split_documents(facts, tokens),
        "warnings": facts.warnings,
    }


def row_document(row: SeenRow) -> dict[str, Any]:
    return {
        "text": row.text,
        "label": row.label,
        "label_id": row.label_id,
        "tokens": row.tokens,
        "token_ids": row.token_ids,
        "num_tokens": None if row.tokens is None else len(row.tokens),
        "truncated": None if row.num_cut is None else row.num_cut > 0,
    }


def split_documents(
    facts: DataFacts, tokens: Mapping[SplitKey, TokenFacts] | None
) -> list[dict[str, Any]]:
    documents = []
    for key, split in facts.splits.items():
        lengths = (tokens or {}).get(key)
        documents.append(
            {
                "domain": split.domain,
                "split": split.split,
                "num_rows": split.num_rows,
                "derived": split.derived,
                "class_counts": dict(split.class_counts),
                "mean_tokens": None if lengths is None else round(lengths.mean, 1),
                "p95_tokens": None if lengths is None else lengths.p95,
                "max_tokens": None if lengths is None else lengths.max,
                "truncated_share": None if lengths is None else lengths.truncated_share,
            }
        )
    return documents
