"""`explanations.html` and `explanations.json`: why a published model decides as it does.

Called by the training function; the page stands alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import captum
import torch

from orchestrator.inspect import pages
from orchestrator.records import Launch
from orchestrator.specs import ExplanationsSpec, TextClassification
from orchestrator.worker.data.splits import Splits
from orchestrator.worker.evaluation.explaining import explained_split, top_words
from orchestrator.worker.evaluation.passes import EvaluationPass

Explained = Mapping[str, Sequence[dict[str, Any]]]
"""Domain -> explanations."""

_STYLE = """
.text { margin: .2rem 0 .8rem; line-height: 1.9; } .text span { padding: .1rem .15rem;
  border-radius: 3px; } .text .a { text-decoration: underline dotted; text-underline-offset: 3px; }
.key span { padding: .1rem .4rem; border-radius: 3px; }
td.words { min-width: 9rem; } .w { white-space: nowrap; } .w small { color: var(--dim); }
"""


def write_explanations(
    folder: Path, explained: Explained, labels: Sequence[str], learned: Sequence[str], name: str
) -> None:
    """Adds both files to a model's folder.

    Args:
        folder: Of the model that is published.
        explained: In the order of the domains.
        labels: Of the task.
        learned: The domains that were trained on.
        name: Of the model.
    """
    words = {
        domain: {
            label: [
                {"word": w.word, "mean": w.mean, "count": w.count}
                for w in top_words(entries, label)
            ]
            for label in labels
        }
        for domain, entries in explained.items()
    }
    document = {
        "format": 1,
        "method": "integrated gradients of the log-odds of the predicted label, from padding",
        "library": f"captum {captum.__version__}",
        "learned": list(learned),
        "completeness": completeness(explained),
        "top_words": words,
        "explanations": {domain: list(entries) for domain, entries in explained.items()},
    }
    (folder / "explanations.json").write_text(json.dumps(document, indent=1) + "\n")
    (folder / "explanations.html").write_text(explanations_page(explained, labels, learned, name))


def completeness(explained: Explained) -> dict[str, Any]:
    """How well words add up to what they explain: the shares that are missed."""
    deltas = sorted(entry["delta"] for entries in explained.values() for entry in entries)
    if not deltas:
        return {"rows": 0, "median_delta": None, "largest_delta": None, "most_steps": None}
    steps = [entry["steps"] for entries in explained.values() for entry in entries]
    return {
        "rows": len(deltas),
        "median_delta": deltas[len(deltas) // 2],
        "largest_delta": deltas[-1],
        "most_steps": max(steps),
    }


def explanations_page(
    explained: Explained, labels: Sequence[str], learned: Sequence[str], name: str
) -> str:
    ordered = sorted(explained, key=lambda domain: domain not in learned)  # what was learned first
    return pages.page(
        f"Why {name} decides as it does",
        [*_intro(explained), *_words(explained, ordered, labels, learned)]
        + [part for domain in ordered for part in _domain(domain, explained[domain], learned)],
        _STYLE,
    )


def _intro(explained: Explained) -> Iterator[str]:
    told = completeness(explained)
    yield pages.paragraph(
        "Each word is marked by what it adds to the log-odds of the label that the model gave "
        "(integrated gradients against a text of padding), summed over its tokens.",
        "dim",
    )
    if told["rows"]:
        yield pages.paragraph(
            f"{told['rows']} rows of test; words and special tokens add up to the whole change "
            f"within {told['median_delta']:.1%} (median), {told['largest_delta']:.1%} at worst, "
            f"in at most {told['most_steps']} steps.",
            "dim",
        )
    yield (
        '<p class="key"><span style="background: rgba(var(--for), .45)">for the label</span> '
        '<span class="a" style="background: rgba(var(--against), .4); '
        'text-decoration: underline dotted">against it</span></p>'
    )


def _words(
    explained: Explained, ordered: Sequence[str], labels: Sequence[str], learned: Sequence[str]
) -> Iterator[str]:
    """By label: the words of each domain side by side."""
    yield pages.heading("Words that carry the decisions")
    yield pages.paragraph(
        "Of the rows below that were given the label: the words that add most to it, with what one "
        "of their places adds on average and how many places there are.",
        "dim",
    )
    for label in labels:
        cells = {domain: top_words(explained[domain], label) for domain in ordered}
        if not any(cells.values()):
            continue
        head = "".join(
            f"<th>{escape(domain)}<br>{'learned from' if domain in learned else 'transfer'}</th>"
            for domain in ordered
        )
        columns = "".join(
            '<td class="words">'
            + "<br>".join(
                f'<span class="w">{escape(w.word)} <small>{w.mean:+.2f} × {w.count}</small></span>'
                for w in cells[domain]
            )
            + "</td>"
            for domain in ordered
        )
        yield pages.heading(label, 3)
        yield f'<div class="scroll"><table><tr>{head}</tr><tr>{columns}</tr></table></div>'


def _domain(
    domain: str, entries: Sequence[dict[str, Any]], learned: Sequence[str]
) -> Iterator[str]:
    role = "learned from" if domain in learned else "transfer"
    yield pages.heading(f"{domain} ({role})")
    for title, is_error in (("Samples", False), ("The most confident errors", True)):
        some = [entry for entry in entries if entry["is_error"] is is_error]
        if some:
            yield pages.heading(title, 3)
            yield from (_row(entry) for entry in some)


def _row(entry: dict[str, Any]) -> str:
    right = entry["label"] == entry["predicted"]
    told = f"{entry['predicted']} ({entry['probability']:.0%})"
    verdict = escape(told) if right else f'<span class="bad">{escape(told)}</span>'
    truth = "" if right else f", is {escape(entry['label'])}"
    largest = max((abs(score) for _, score in entry["words"]), default=0.0) or 1.0
    words = " ".join(_marked(word, score, largest) for word, score in entry["words"])
    return (
        f'<p class="dim">row {entry["row"] + 1}: {verdict}{truth}</p>\n<p class="text">{words}</p>'
    )


def _marked(word: str, score: float, largest: float) -> str:
    """A word on a ground as strong as what it adds; small shares stay plain."""
    share = abs(score) / largest
    shown = f'title="{score:+.3f}"'
    if share < 0.05:
        return f"<span {shown}>{escape(word)}</span>"
    colour, kind = ("--for", "") if score > 0 else ("--against", ' class="a"')
    ground = f'style="background: rgba(var({colour}), {0.1 + 0.5 * share:.2f})"'
    return f"<span{kind} {ground} {shown}>{escape(word)}</span>"


def explain_published(
    launch: Launch,
    evaluation: EvaluationPass,
    model: torch.nn.Module,
    splits: Splits,
    folder: Path,
) -> None:
    """Explains decisions on every test split; all ranks take part.

    Args:
        launch: The Attempt that publishes.
        evaluation: The pass that has measured the same splits.
        model: The published weights, on the rank's device; what they need no longer is changed.
        splits: Of the job.
        folder: Where rank 0 puts the files.
    """
    spec = launch.spec.spec
    assert isinstance(spec.task, TextClassification)
    assert spec.task.labels is not None, "the plan resolves the labels"
    how = spec.evaluation.explanations or ExplanationsSpec()
    explained = {
        domain: explained_split(
            *(evaluation, model, encoded, splits.test_rows[domain], how, spec.task.labels)
        )
        for domain, encoded in splits.test.items()
    }
    if evaluation.gang.is_first:
        name = spec.output.name or launch.spec.metadata.name
        learned = spec.data.train_on or ()
        write_explanations(folder, explained, spec.task.labels, learned, name)
