"""Rows as a review team wants them learned: links and repeated signs say nothing."""

import re


def tidy(row: dict[str, str]) -> dict[str, str] | None:
    """One row as it is learned and measured; None leaves it out."""
    text = re.sub(r"https?://\S+", "", row["text"])
    text = re.sub(r"(\W)\1{2,}", r"\1", text)
    text = " ".join(text.split())
    return {**row, "text": text} if len(text) > 2 else None
