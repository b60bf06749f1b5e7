"""What a model has made of texts, as a table; called by `predict`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from orchestrator.interfaces.cli import figures
from orchestrator.interfaces.cli.tables import plain_table
from orchestrator.specs.classification import TEXT, TEXT_PAIR


def answers_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """Each text beside its label, labels, number or text, whatever the model gives.

    Args:
        rows: The texts by role, with the fields of each answer; of one model, so all alike.
    """
    if "predicted_text" in rows[0]:
        table = plain_table("", "text")
        for row in rows:
            table.add_row("reads", Text(row[TEXT]))
            table.add_row("writes", Text(row["predicted_text"], style="bold"))
        return table
    texts = [TEXT, *([TEXT_PAIR] if TEXT_PAIR in rows[0] else [])]
    headings = ["label", ">probability"]
    if "predicted_value" in rows[0]:
        headings = [">value"]
    elif "predicted_labels" in rows[0]:
        headings = ["labels"]
    table = plain_table(*headings, *(name.replace("_", " ") for name in texts))
    for row in rows:
        table.add_row(*_answer(row), *(Text(row[name]) for name in texts))
    return table


def _answer(row: Mapping[str, Any]) -> list[Text]:
    if "predicted_value" in row:
        return [Text(figures.score(row["predicted_value"]), style="bold")]
    chances = row["probabilities"]
    if "predicted_labels" in row:
        named = [f"{name} {figures.score(chances[name])}" for name in row["predicted_labels"]]
        return [Text(", ".join(named) or figures.NOTHING, style="bold")]
    return [Text(row["predicted_label"], style="bold"), Text(figures.score(row["probability"]))]
