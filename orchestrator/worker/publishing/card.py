"""The model card: README.md in the form hubs read (YAML front matter, then prose and tables)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import yaml

from orchestrator.records import Launch, SelectionOutcome
from orchestrator.specs import FreezeMethod, MethodSpec, TextClassification
from orchestrator.specs.runtime_checks import entry_points

Figures = dict[str, dict[str, Any]]


def model_card(
    launch: Launch, metrics: Figures, before: Figures, selection: SelectionOutcome, rows: Figures
) -> str:
    """The text of README.md.

    Args:
        launch: The Attempt that publishes.
        metrics: domain -> metrics on test after training.
        before: The same for the untrained start; may be empty.
        selection: Which weights these are.
        rows: domain -> {split: rows} of the data.
    """
    parts = [
        _front_matter(launch, metrics),
        f"# {launch.spec.spec.output.name}",
        _summary(launch, selection),
        "## Results on test",
        _results(launch, metrics, before),
        "## Data",
        _data(launch, rows),
        "## Use",
        _use(),
        "## Limits",
        _limits(launch, metrics),
    ]
    return "\n\n".join(parts) + "\n"


def describe_method(method: MethodSpec) -> str:
    if not isinstance(method, FreezeMethod):
        return "full fine-tuning"
    if method.all_layers:
        return "feature extraction (the whole base frozen)"
    return f"fine-tuning with the embeddings and the first {method.num_layers} layers frozen"


def _front_matter(launch: Launch, metrics: Figures) -> str:
    spec = launch.spec.spec
    results = [
        {
            "task": {"type": spec.task.type},
            "dataset": {"name": domain, "type": domain},
            "metrics": [
                {"type": name, "value": round(float(values[name]), 4)}
                for name in ("accuracy", "macro_f1")
            ],
        }
        for domain, values in metrics.items()
    ]
    front = {
        "library_name": "transformers",
        "pipeline_tag": spec.task.type,
        "base_model": _base(launch),
        "tags": ["cross-domain-transfer"],
        "model-index": [{"name": spec.output.name, "results": results}],
    }
    return "---\n" + yaml.safe_dump(front, sort_keys=False).strip() + "\n---"


def _base(launch: Launch) -> str:
    model = launch.spec.spec.model
    assert model is not None, "a task with a model card has a base"
    return model.base


def _labels(launch: Launch) -> tuple[str, ...]:
    task = launch.spec.spec.task
    return (task.labels or ()) if isinstance(task, TextClassification) else ()


def _summary(launch: Launch, selection: SelectionOutcome) -> str:
    spec = launch.spec.spec
    assert spec.data.train_on is not None
    chosen = (
        "the last weights of the training"
        if selection.last or selection.step is None
        else f"the weights of step {selection.step}, the best by {selection.metric} on the "
        f"validation split ({selection.value:.4f})"
    )
    return (
        f"{spec.task.type} into {', '.join(_labels(launch))}; "
        f"{describe_method(spec.method)} of `{_base(launch)}` "
        f"on {', '.join(spec.data.train_on)}. These are {chosen}."
    )


def _results(launch: Launch, metrics: Figures, before: Figures) -> str:
    shown = launch.spec.spec.evaluation.shown_metrics or ("accuracy", "macro_f1")
    rows = []
    for domain, values in metrics.items():
        role = "trained on" if domain in (launch.spec.spec.data.train_on or ()) else "transfer"
        cells = [_cell(name, values, before.get(domain)) for name in shown]
        floor = f"{values['majority_accuracy']:.3f}"
        rows.append([domain, role, str(values["num_rows"]), *cells, floor])
    note = (
        "Before training → after it, with the 95 % bootstrap interval of the latter; the floor is "
        "the accuracy of always answering the most frequent class."
    )
    header = ["domain", "role", "rows", *shown, "floor"]
    return _table(header, rows) + "\n\n" + note


def _cell(name: str, values: dict[str, Any], before: dict[str, Any] | None) -> str:
    text = f"{values[name]:.3f}"
    if before:
        text = f"{before[name]:.3f} → {text}"
    interval = values.get("intervals", {}).get(name)
    return f"{text} [{interval[0]:.3f}, {interval[1]:.3f}]" if interval else text


def _code(launch: Launch) -> str:
    """The user's functions that were used, and of which code they are."""
    used = [f"`{path}: {entry}`" for path, entry in entry_points(launch.spec.spec)]
    if not used:
        return ""
    return (
        f"\n\nFunctions of the job's own code (sha256 `{launch.identity.code}`, its files are in "
        f"lineage.json): {', '.join(used)}."
    )


def _data(launch: Launch, rows: Figures) -> str:
    digests = launch.identity.data
    lines = [
        [domain, split, str(count), f"`{digests.get(f'{domain}/{split}', '')[:12]}`"]
        for domain, splits in rows.items()
        for split, count in splits.items()
    ]
    return _table(["domain", "split", "rows", "sha256"], lines) + _code(launch)


def _use() -> str:
    return (
        "```python\nfrom transformers import AutoModelForSequenceClassification, AutoTokenizer\n\n"
        'model = AutoModelForSequenceClassification.from_pretrained("path/to/this/folder")\n'
        'tokenizer = AutoTokenizer.from_pretrained("path/to/this/folder")\n```'
    )


def _limits(launch: Launch, metrics: Figures) -> str:
    spec = launch.spec.spec
    trained = set(spec.data.train_on or ())
    lines = [
        f"- Texts are cut to {spec.training.max_length} tokens.",
        "- The figures hold for the domains in the table; on other text they are unknown.",
    ]
    weak = [
        domain
        for domain, values in metrics.items()
        if float(values["accuracy"]) <= float(values["majority_accuracy"])
    ]
    if weak:
        lines.append(f"- No better than the majority floor on: {', '.join(weak)}.")
    if not trained.issuperset(metrics):
        elsewhere = ", ".join(sorted(set(metrics) - trained))
        lines.append(f"- Never saw text of: {elsewhere}; the figures there show transfer.")
    return "\n".join(lines)


def _table(header: list[str], rows: Iterable[list[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
