"""Texts that are learned and measured: they make every figure look better than it is.

Called by `inspect.data`.
"""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc

from orchestrator.inspect.labels import LABEL
from orchestrator.inspect.tables import ReadData, learned_from
from orchestrator.specs.classification import TEXT_PAIR
from orchestrator.specs.data import DataSpec


def overlap_warnings(data: DataSpec, found: ReadData) -> Iterator[str]:
    """One sentence for each valid or test split that shares texts with the training rows."""
    training = [
        (name, _texts(found.tables[name, "train"]))
        for name in learned_from(data)
        if (name, "train") in found.tables
    ]
    if not training:
        return
    learned = pa.chunked_array([chunk for _, texts in training for chunk in texts.chunks])
    for (name, split), table in found.tables.items():
        if split == "train":
            continue
        shared = pc.is_in(_texts(table), value_set=learned)
        count = int(pc.sum(shared).as_py() or 0)
        if count:
            where = [t for t, texts in training if _meet(_texts(table), texts)]
            noun = "text is" if count == 1 else "texts are"
            yield (
                f"{count} of {table.num_rows} {split} {noun} among the training rows of "
                f"{', '.join(where)} too (domain {name}): figures on them flatter the model"
            )


def _meet(texts: pa.ChunkedArray, others: pa.ChunkedArray) -> bool:
    return bool(pc.any(pc.is_in(texts, value_set=others)).as_py())


def _texts(table: pa.Table) -> pa.ChunkedArray:
    """What a row says: of a pair both texts, else its first."""
    roles = [role for role in table.column_names if role != LABEL]
    if TEXT_PAIR not in roles:
        return table.column(roles[0])
    return pc.binary_join_element_wise(table.column(roles[0]), table.column(TEXT_PAIR), "\x1f")
