"""How long texts are in tokens, from tokenizer.json alone: no transformers, no torch.

Called by the plan (memory and time follow from lengths) and by `orchestrator data preview`.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from orchestrator.errors import InvalidInput, Problem
from orchestrator.inspect.arrays import indices_of
from orchestrator.inspect.labels import LABEL
from orchestrator.inspect.messages import messages_of
from orchestrator.inspect.tables import SplitKey
from orchestrator.specs.classification import TEXT, TEXT_PAIR
from orchestrator.specs.data import Split
from orchestrator.specs.task import MESSAGES

SAMPLE_ROWS = 2000


@dataclass(frozen=True, slots=True)
class TokenFacts:
    """Tokens of a sample of a split's rows, special tokens included."""

    domain: str
    split: Split
    num_sampled: int
    mean: float  # before texts are cut
    p95: int
    max: int
    mean_kept: float  # after they are cut to max_length: what is computed
    truncated_share: float  # of the rows, those that are cut
    pieces: float = 1.0  # rows a text becomes; where they are several, p95 and max are of those


def token_facts(
    tables: Mapping[SplitKey, pa.Table],
    tokenizer_file: Path,
    max_length: int,
    max_target_length: int | None = None,
    *,
    split: bool = False,
) -> dict[SplitKey, TokenFacts] | None:
    """Facts by split, from up to 2,000 rows each, always the same; None without a tokenizer.json.

    Several text roles of a row are counted together.

    Args:
        tables: Rows by split.
        tokenizer_file: The base's tokenizer.json.
        max_length: Tokens a row is cut to.
        max_target_length: Tokens its last role is cut to by itself; absent: it is cut as a whole.
        split: Whether a longer row becomes several instead of being cut.

    Raises:
        InvalidInput: The tokenizer is damaged.
    """
    if not tokenizer_file.is_file():
        return None
    tokenizer = _load(tokenizer_file)
    tokenizer.no_truncation()
    tokenizer.no_padding()
    facts = {}
    for (domain, split_name), table in tables.items():
        rows = _sample(table)
        parts = [[len(e) for e in tokenizer.encode_batch_fast(given)] for given in _read(rows)]
        if not rows.num_rows:
            continue
        lengths = [sum(row) for row in zip(*parts, strict=True)]
        if split:
            around = tokenizer.num_special_tokens_to_add(False)
            facts[domain, split_name] = _in_pieces(domain, split_name, lengths, max_length, around)
            continue
        if max_target_length is None:
            kept = [min(length, max_length) for length in lengths]
        else:
            target = [min(length, max_target_length) for length in parts[-1]]
            rest = [length - last for length, last in zip(lengths, parts[-1], strict=True)]
            kept = [min(n, max_length) + t for n, t in zip(rest, target, strict=True)]
        facts[domain, split_name] = _summary(domain, split_name, lengths, kept)
    return facts


def _read(rows: pa.Table) -> list[list[Any]]:
    """What is tokenized of each row: the two texts of a pair together, others by themselves."""
    roles = [role for role in rows.column_names if role != LABEL]
    if TEXT_PAIR in roles:
        return [list(zip(*(_texts(rows, role) for role in (TEXT, TEXT_PAIR)), strict=True))]
    return [_texts(rows, role) for role in roles]


def _texts(rows: pa.Table, role: str) -> list[str]:
    values: list[str] = rows.column(role).to_pylist()
    if role != MESSAGES:
        return values
    return ["\n".join(m["content"] for m in messages_of(value)) for value in values]


def _load(tokenizer_file: Path) -> Any:
    from tokenizers import Tokenizer

    try:
        return Tokenizer.from_file(str(tokenizer_file))
    except Exception as error:  # the library raises no narrower kind
        message = f"{tokenizer_file} is not a tokenizer: {error}"
        hint = "the base's folder is incomplete or damaged: get it again"
        raise InvalidInput([Problem(message, path="model.base", hint=hint)]) from error


def _sample(table: pa.Table) -> pa.Table:
    if table.num_rows <= SAMPLE_ROWS:
        return table
    chosen = random.Random(0).sample(range(table.num_rows), SAMPLE_ROWS)
    return table.take(indices_of(sorted(chosen)))


def _summary(domain: str, split: Split, lengths: list[int], kept: list[int]) -> TokenFacts:
    """Of tokens before and after rows are cut."""
    count = len(lengths)
    num_cut = sum(after < before for before, after in zip(lengths, kept, strict=True))
    lengths = sorted(lengths)
    return TokenFacts(
        domain=domain,
        split=split,
        num_sampled=count,
        mean=sum(lengths) / count,
        p95=lengths[min(count - 1, int(count * 0.95))],
        max=lengths[-1],
        mean_kept=sum(kept) / count,
        truncated_share=num_cut / count,
    )


def _in_pieces(
    domain: str, split: Split, lengths: list[int], max_length: int, around: int
) -> TokenFacts:
    """Of texts that become rows of `max_length`; `around` tokens begin and end each."""
    room = max_length - around
    pieces: list[int] = []
    for length in lengths:
        whole, rest = divmod(max(length - around, 1), room)
        pieces += [max_length] * whole + ([rest + around] if rest else [])
    pieces.sort()
    return TokenFacts(
        domain=domain,
        split=split,
        num_sampled=len(lengths),
        mean=sum(lengths) / len(lengths),
        p95=pieces[min(len(pieces) - 1, int(len(pieces) * 0.95))],
        max=pieces[-1],
        mean_kept=sum(pieces) / len(lengths),
        truncated_share=0.0,
        pieces=len(pieces) / len(lengths),
    )
