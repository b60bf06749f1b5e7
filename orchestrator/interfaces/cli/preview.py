"""Rows as the model will see them: text, tokens after truncation, label. Called by `data preview`.

Reads tokenizer.json with the tokenizers library, as the plan does; a test holds its tokens equal to
those of the worker.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from orchestrator.errors import UserError
from orchestrator.inspect.data import DataFacts, SplitKey
from orchestrator.inspect.labels import (
    LABEL,
    ONE_CLASS,
    LabelForm,
    NumberFacts,
    names_of,
)
from orchestrator.inspect.messages import messages_of
from orchestrator.inspect.tokens import TokenFacts
from orchestrator.interfaces.cli import figures
from orchestrator.interfaces.cli.tables import plain_table
from orchestrator.specs import FineTuneSpec
from orchestrator.specs.classification import TEXT, TEXT_PAIR
from orchestrator.specs.data import DataSpec, Split
from orchestrator.specs.task import MESSAGES, default_columns
from orchestrator.specs.task_checks import target_length

_MOST_CLASSES = 8


class Drawn(Protocol):
    """A domain's part of an epoch, as data and plans tell it."""

    @property
    def domain(self) -> str: ...
    @property
    def rows(self) -> int: ...
    @property
    def drawn(self) -> int: ...
    @property
    def replayed(self) -> bool: ...


@dataclass(frozen=True, slots=True)
class SeenText:
    """A text of a row; `tokens` are those that are kept, special tokens included."""

    role: str
    text: str
    tokens: tuple[str, ...] | None = None  # None where the base has no tokenizer.json
    token_ids: tuple[int, ...] | None = None
    num_cut: int | None = None  # tokens beyond its limit


@dataclass(frozen=True, slots=True)
class SeenRow:
    """One row: its texts by role, and its class, its classes or its number where it has them.

    Two texts that are read together have their tokens in `pair`, and none of their own.
    """

    texts: tuple[SeenText, ...]
    label: str | tuple[str, ...] | float | None = None
    label_id: int | tuple[int, ...] | None = None
    pair: SeenText | None = None


@dataclass(frozen=True, slots=True)
class Seeing:
    """How rows are read."""

    labels: Sequence[str]
    tokenizer_file: Path | None
    limits: Mapping[str, int]  # role -> tokens that are kept
    form: LabelForm = ONE_CLASS


def seen_rows(table: pa.Table, how: Seeing) -> list[SeenRow]:
    """The rows of a table, each text tokenized and cut to the limit of its role."""
    values = {role: table.column(role).to_pylist() for role in table.column_names if role != LABEL}
    if TEXT_PAIR in values:
        rows = _seen_pairs(values[TEXT], values[TEXT_PAIR], how)
    else:
        columns = [
            _seen_texts(role, texts, how.tokenizer_file, how.limits[role])
            for role, texts in values.items()
        ]
        rows = [SeenRow(texts) for texts in zip(*columns, strict=True)]
    if LABEL not in table.column_names:
        return rows
    if how.form.is_number:
        numbers = [float(text) for text in table.column(LABEL).to_pylist()]
        return [replace(row, label=number) for row, number in zip(rows, numbers, strict=True)]
    names = names_of(table, how.form)
    return [_with_labels(row, found, how) for row, found in zip(rows, names, strict=True)]


def _with_labels(row: SeenRow, names: Sequence[str], how: Seeing) -> SeenRow:
    ids = tuple(how.labels.index(name) for name in names)
    if how.form.is_set:
        return replace(row, label=tuple(names), label_id=ids)
    return replace(row, label=names[0], label_id=ids[0])


def _seen_pairs(first: Sequence[str], second: Sequence[str], how: Seeing) -> list[SeenRow]:
    """Both texts of a row in one sequence, of which the longer is cut first."""
    texts = list(zip(first, second, strict=True))
    rows = [SeenRow((SeenText(TEXT, a), SeenText(TEXT_PAIR, b))) for a, b in texts]
    if how.tokenizer_file is None:
        return rows
    tokenizer = _tokenizer(how.tokenizer_file)
    whole = tokenizer.encode_batch(texts)
    tokenizer.enable_truncation(how.limits[TEXT], strategy="longest_first")
    return [
        replace(row, pair=_seen("pair", f"{a} {b}", all_of_it, kept))
        for row, (a, b), all_of_it, kept in zip(
            rows, texts, whole, tokenizer.encode_batch(texts), strict=True
        )
    ]


def limits_of(spec: FineTuneSpec) -> dict[str, int]:
    """Role -> tokens that are kept of it at most."""
    roles = default_columns(spec.task)
    limits = dict.fromkeys(roles, spec.training.max_length)
    target = target_length(spec)
    if target is not None:
        limits[list(roles)[-1]] = target
    return limits


def _seen_texts(
    role: str, values: Sequence[str], tokenizer_file: Path | None, limit: int
) -> list[SeenText]:
    texts = values if role != MESSAGES else [_chat(value) for value in values]
    if tokenizer_file is None:
        return [SeenText(role, text) for text in texts]
    tokenizer = _tokenizer(tokenizer_file)
    whole = tokenizer.encode_batch(texts)
    tokenizer.enable_truncation(limit)
    kept = tokenizer.encode_batch(texts)
    return [
        _seen(role, text, all_of_it, part)
        for text, all_of_it, part in zip(texts, whole, kept, strict=True)
    ]


def _seen(role: str, text: str, whole: Any, kept: Any) -> SeenText:
    return SeenText(role, text, tuple(kept.tokens), tuple(kept.ids), len(whole) - len(kept))


def _tokenizer(file: Path) -> Any:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(file))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def _chat(value: str) -> str:
    return "\n".join(f"{m['role']}: {m['content']}" for m in messages_of(value))


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
    """Each row as a little block: what it is, its texts, their tokens."""
    views: list[RenderableType] = [Text(title, style="bold"), Text()]
    for number, row in enumerate(rows, start=1):
        head = Text.assemble((f"{number}", "dim"))
        if row.label is not None:
            head.append(f"  {_label_text(row.label)}", style="bold green")
        if isinstance(row.label_id, int):
            head.append(f" (class {row.label_id})", style="dim")
        block = Table.grid(padding=(0, 2, 0, 0))
        block.add_column(style="dim", no_wrap=True)
        block.add_column(overflow="fold")
        for text in row.texts:
            block.add_row(f"   {text.role}", Text(text.text))
            if text.tokens is not None:
                where = "" if len(row.texts) == 1 else f" of the {text.role}"
                head.append(f"  {len(text.tokens)} tokens{where}", style="dim")
                block.add_row("   tokens", Text(" ".join(text.tokens), style="cyan"))
            if text.num_cut:
                head.append(f", {text.num_cut} more are cut off", style="yellow")
        if row.pair is not None and row.pair.tokens is not None:
            head.append(f"  {len(row.pair.tokens)} tokens", style="dim")
            if row.pair.num_cut:
                head.append(f", {row.pair.num_cut} more are cut off", style="yellow")
            block.add_row("   tokens", Text(" ".join(row.pair.tokens), style="cyan"))
        views += [head, block, Text()]
    return views


def _label_text(label: str | tuple[str, ...] | float) -> str:
    if isinstance(label, tuple):
        return ", ".join(label) or "no label"
    return label if isinstance(label, str) else f"{label:g}"


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
        counts = class_counts_text(split.class_counts) or numbers_text(split.numbers)
        table.add_row(split.domain, name, f"{split.num_rows:,}", *cells, counts)
    return table


def numbers_text(numbers: NumberFacts | None) -> str:
    """What a regression learns: `mean 0.42, deviation 1.3, from -3 to 4`."""
    if numbers is None:
        return ""
    spread = f"mean {numbers.mean:.3g}, deviation {numbers.std:.3g}"
    return f"{spread}, from {numbers.min:g} to {numbers.max:g}"


def draws_table(draws: Sequence[Drawn]) -> Table:
    """What each domain contributes to an epoch."""
    table = plain_table("domain", ">rows", ">an epoch draws", ">share", "")
    everything = max(sum(draw.drawn for draw in draws), 1)
    for draw in draws:
        share = figures.percent(draw.drawn / everything)
        role = "replayed" if draw.replayed else ""
        table.add_row(draw.domain, f"{draw.rows:,}", f"{draw.drawn:,}", share, role)
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
    spec: FineTuneSpec,
    shown: Sequence[SeenRow],
    tokens: Mapping[SplitKey, TokenFacts] | None,
) -> dict[str, Any]:
    """What `--json` prints: the rows shown, then every split's figures."""
    return {
        "domain": chosen[0],
        "split": chosen[1],
        "labels": facts.labels,
        "max_length": spec.training.max_length,
        "rows": [row_document(row) for row in shown],
        "splits": split_documents(facts, tokens),
        "draws": [
            {
                "domain": draw.domain,
                "rows": draw.rows,
                "drawn": draw.drawn,
                "replayed": draw.replayed,
            }
            for draw in facts.draws
        ],
        "warnings": facts.warnings,
    }


def row_document(row: SeenRow) -> dict[str, Any]:
    """The texts of a row with a label stand beside it; other rows have them by role."""
    if row.pair is not None or (row.label is not None and len(row.texts) > 1):
        seen = row.pair or SeenText("pair", "")
        texts = {text.role: text.text for text in row.texts}
        return {**texts, "label": row.label, "label_id": row.label_id, **_token_document(seen)}
    if row.label is not None and len(row.texts) == 1:
        (text,) = row.texts
        return {
            "text": text.text,
            "label": row.label,
            "label_id": row.label_id,
            **_token_document(text),
        }
    return {text.role: {"text": text.text, **_token_document(text)} for text in row.texts}


def _token_document(text: SeenText) -> dict[str, Any]:
    return {
        "tokens": text.tokens,
        "token_ids": text.token_ids,
        "num_tokens": None if text.tokens is None else len(text.tokens),
        "truncated": None if text.num_cut is None else text.num_cut > 0,
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
                "numbers": None if split.numbers is None else asdict(split.numbers),
                "mean_tokens": None if lengths is None else round(lengths.mean, 1),
                "p95_tokens": None if lengths is None else lengths.p95,
                "max_tokens": None if lengths is None else lengths.max,
                "truncated_share": None if lengths is None else lengths.truncated_share,
            }
        )
    return documents
