"""Rows of other tasks from the reviews in `sentiment`: label sets and pairs of texts.

    python jobs/data/derive.py

writes `derived/`, always the same bytes: rows are chosen by a hash of their ids, and nothing is
drawn at random. Texts and ratings are those of `sentiment`, whose README tells where they come
from and under which licence.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
SENTIMENT, DERIVED = HERE / "sentiment", HERE / "derived"

MOST_ROWS = {"train": 900, "valid": 150, "test": 300}
STRONG = 2.0  # a mean rating so far from 0 is a strong one
REVIEWS, PRESS = ("camera", "dvd_player", "movie"), ("news", "tweet")
TARGETS = ("movie", "press")  # nothing is learned from them

Row = dict[str, Any]


def derived() -> dict[str, list[Row]]:
    """File -> its rows."""
    files: dict[str, list[Row]] = {}
    for split, most in MOST_ROWS.items():
        for name, domains in (("products", REVIEWS[:2]), ("movie", REVIEWS[2:])):
            rows = _some(_rows(domains, split), most)
            files[f"label_sets/{name}/{split}.jsonl"] = [_with_set(row) for row in rows]
        for name, domains in (("reviews", REVIEWS), ("press", PRESS)):
            files[f"pairs/{name}/{split}.jsonl"] = list(_pairs(domains, split, most))
    learned = {name for name in files if name.endswith("train.jsonl")}
    return {
        name: rows for name, rows in files.items() if not (name in learned and _is_target(name))
    }


def _is_target(name: str) -> bool:
    return name.split("/")[1] in TARGETS


def _with_set(row: Row) -> Row:
    """What a review is of, where it is of a product, what it thinks of it, and how strongly."""
    of = [row["domain"]] if row["domain"] != "movie" else []
    strong = ["strong"] if abs(row["score"]) >= STRONG else []
    return {"text": row["text"], "label": sorted([*of, row["label"], *strong])}


def _pairs(domains: Iterable[str], split: str, most: int) -> Iterator[Row]:
    """Each text beside another: of its own domain (`same`) or of the next one (`other`) in turn."""
    by_domain = [_some(_rows([domain], split), most) for domain in domains]
    for number in range(most):
        first = by_domain[number % len(by_domain)]
        is_same = number // len(by_domain) % 2 == 0
        second = first if is_same else by_domain[(number + 1) % len(by_domain)]
        at = number // len(by_domain)
        a = first[at % len(first)]
        b = second[(at * 7 + 3) % len(second)]
        if a["id"] == b["id"]:
            b = second[(at * 7 + 4) % len(second)]
        label = "same" if is_same else "other"
        yield {"text": a["text"], "text_pair": b["text"], "label": label}


def _rows(domains: Iterable[str], split: str) -> list[Row]:
    return [
        json.loads(line)
        for domain in domains
        for line in (SENTIMENT / domain / f"{split}.jsonl").read_text().splitlines()
    ]


def _some(rows: list[Row], most: int) -> list[Row]:
    """At most so many, in the order of a hash of their ids."""
    return sorted(rows, key=lambda row: hashlib.sha256(str(row["id"]).encode()).digest())[:most]


def lines(rows: Iterable[Row]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


if __name__ == "__main__":
    for name, found in derived().items():
        path = DERIVED / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(lines(found))
