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
from orchestrator.inspect.tables import SplitKey
from orchestrator.inspect.values import LABEL
from orchestrator.specs.data import Split

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


def token_facts(
    tables: Mapping[SplitKey, pa.Table], tokenizer_file: Path, max_length: int
) -> dict[SplitKey, TokenFacts] | None:
    """Facts by split, from up to 2,000 rows each, always the same; None without a tokenizer.json.

    Several text roles of a row are counted together. Raises InvalidInput for a damaged tokenizer.
    """
    if not tokenizer_file.is_file():
        return None
    tokenizer = _load(tokenizer_file)
    tokenizer.no_truncation()
    tokenizer.no_padding()
    facts = {}
    for (domain, split), table in tables.items():
        rows = _sample(table)
        lengths = [0] * rows.num_rows
        for role in (name for name in rows.column_names if name != LABEL):
            encoded = tokenizer.encode_batch_fast(rows.column(role).to_pylist())
            lengths = [n + len(e) for n, e in zip(lengths, encoded, strict=True)]
        if lengths:
            facts[domain, split] = _summary(domain, split, sorted(lengths), max_length)
    return facts


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


def _summary(domain: str, split: Split, lengths: list[int], max_length: int) -> TokenFacts:
    """`lengths` in ascending order."""
    count = len(lengths)
    return TokenFacts(
        domain=domain,
        split=split,
        num_sampled=count,
        mean=sum(lengths) / count,
        p95=lengths[min(count - 1, int(count * 0.95))],
        max=lengths[-1],
        mean_kept=sum(min(n, max_length) for n in lengths) / count,
        truncated_share=sum(n > max_length for n in lengths) / count,
    )
