"""What a model reads of a row where a prompt stands around its texts.

Called by the plan, which counts tokens, and by `orchestrator data preview`.
"""

from __future__ import annotations

import pyarrow as pa

from orchestrator.inspect.labels import LABEL
from orchestrator.specs import TaskSpec, TextClassification
from orchestrator.specs.classification import TEXT, TEXT_PAIR


def as_read(table: pa.Table, task: TaskSpec) -> pa.Table:
    """The table itself, or of a classification by likelihood prompts with the right label's words.

    Without the examples that stand before them, which are drawn when a job runs.
    """
    if not isinstance(task, TextClassification) or not task.by_likelihood:
        return table
    roles = [role for role in (TEXT, TEXT_PAIR) if role in table.column_names]
    rows = zip(*(table.column(role).to_pylist() for role in roles), strict=True)
    labels = table.column(LABEL).to_pylist()
    read = [
        f"{task.prompt_of(row)} {task.words_of(label)}"
        for row, label in zip(rows, labels, strict=True)
    ]
    return pa.table({TEXT: pa.array(read, pa.string()), LABEL: table.column(LABEL)})
