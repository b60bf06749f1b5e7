"""Which rows are held out for `valid`, and how a source's weight draws its rows.

Pure functions of the rows' content: the same rows give the same split on any machine, however
they are cut into files. Called by `inspect.tables`.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from orchestrator.inspect.arrays import indices_of, mask_of
from orchestrator.inspect.labels import LABEL, ONE_CLASS, LabelForm, strata_of


def held_out(table: pa.Table, fraction: float, form: LabelForm = ONE_CLASS) -> pa.Array | None:
    """A mask of the rows that become `valid`; None where no label has two different texts.

    Rows of one text stay together, so that nothing learned is measured. Each label gives about its
    share; at least one row stays on each side, and a label's last text stays in training.
    """
    all_keys = _keys(table)
    first_label: dict[str, str] = {}
    rows_of = Counter(all_keys)
    for key, label in zip(all_keys, strata_of(table, form), strict=True):
        first_label.setdefault(key, label)
    texts_of: dict[str, list[str]] = {}
    for key in sorted(rows_of, key=_order):
        texts_of.setdefault(first_label[key], []).append(key)
    chosen: set[str] = set()
    rows_by_label = {label: sum(rows_of[k] for k in keys) for label, keys in texts_of.items()}
    quotas = _quotas(rows_by_label, fraction)
    for label, texts in texts_of.items():
        taken = 0
        for key in texts[:-1]:  # the last text stays in training
            if taken + rows_of[key] / 2 <= quotas[label]:
                chosen.add(key)
                taken += rows_of[key]
    if not chosen:
        largest = max(texts_of.values(), key=len, default=[])
        if len(largest) < 2:
            return None  # every label has a single text, which training needs
        chosen.add(largest[0])
    return mask_of([key in chosen for key in all_keys])


def weighted(table: pa.Table, weight: float) -> pa.Table:
    """What an epoch draws of a source: 2.0 each row twice, 0.5 a half that is always the same."""
    whole, part = int(weight), weight - int(weight)
    pieces = [table] * whole
    if part > 0:
        count = round(table.num_rows * part)
        if not whole:
            count = max(count, 1)
        keys = _keys(table)
        order = sorted(range(len(keys)), key=lambda row: (_order(keys[row]), row))
        pieces.append(table.take(indices_of(sorted(order[:count]))))
    return pa.concat_tables(pieces)


def _quotas(rows: dict[str, int], fraction: float) -> dict[str, int]:
    """Rows each label gives, together the fraction of all: largest remainders are rounded up."""
    exact = {label: count * fraction for label, count in rows.items()}
    quotas = {label: math.floor(share) for label, share in exact.items()}
    left = round(sum(exact.values())) - sum(quotas.values())
    by_remainder = sorted(exact, key=lambda label: (quotas[label] - exact[label], label))
    for label in by_remainder[: max(left, 0)]:
        quotas[label] += 1
    return quotas


def _keys(table: pa.Table) -> list[str]:
    """What a row says apart from its label."""
    texts = [table.column(role) for role in table.column_names if role != LABEL]
    joined = texts[0] if len(texts) == 1 else pc.binary_join_element_wise(*texts, "\x1f")
    keys: list[Any] = joined.to_pylist()
    return keys


def _order(text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=16).digest()
