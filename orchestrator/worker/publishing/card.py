"""The model card: README.md in the form hubs read (YAML front matter, then prose and tables)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import yaml

from orchestrator.records import GateResult, Launch, SelectionOutcome
from orchestrator.specs import (
    METRICS_TO_MINIMIZE,
    AdapterMethod,
    CausalLm,
    FineTuneSpec,
    FreezeMethod,
    MethodSpec,
    MultiTaskMethod,
    QloraMethod,
    TaskSpec,
    TextClassification,
)
from orchestrator.specs.classification import MULTI_LABEL, REGRESSION
from orchestrator.specs.metrics import FLOORS, floor_of
from orchestrator.specs.runtime_checks import entry_points
from orchestrator.specs.task_views import (
    learned_keys,
    metrics_of_job,
    plain_task,
    task_of_key,
    tasks_of,
)
from orchestrator.storage.adapters import Origin
from orchestrator.worker.publishing.fairness import fairness_note, fairness_part
from orchestrator.worker.publishing.tasks_part import use_of_tasks

Figures = dict[str, dict[str, Any]]

_PIPELINES = {
    "text-classification": "text-classification",
    "causal-lm": "text-generation",
    "translation": "translation",
    "summarization": "summarization",
}
"""By task: what hubs call it."""

_PROBLEM_TYPES = {MULTI_LABEL: "multi_label_classification", REGRESSION: "regression"}
"""What a config must say, where the head is not one of single labels."""


@dataclass(frozen=True, slots=True)
class Loads:
    """What reads the published folder."""

    kind: str = "AutoModelForSequenceClassification"  # transformers' class
    adapter_of: Origin | None = None  # the base that the weights belong to, if they are not whole
    heads: bool = False  # whether each of several tasks has a folder of its own
    gates: tuple[GateResult, ...] = ()  # what decides about the alias `promoted`


WHOLE_CLASSIFIER = Loads()


def model_card(
    launch: Launch,
    metrics: Figures,
    before: Figures,
    selection: SelectionOutcome,
    rows: Figures,
    loads: Loads = WHOLE_CLASSIFIER,
) -> str:
    """The text of README.md.

    Args:
        launch: The Attempt that publishes.
        metrics: domain -> metrics on test after training.
        before: The same for the untrained start; may be empty.
        selection: Which weights these are.
        rows: domain -> {split: rows} of the data.
        loads: What reads the folder.
    """
    parts = [
        _front_matter(launch, metrics, loads.adapter_of),
        f"# {launch.spec.spec.output.name}",
        _summary(launch, selection),
        "## Results on test",
        _results(launch, metrics, before),
        *_per_label(launch, metrics),
        *_fairness(metrics),
        *_calibration(metrics, before),
        *_gates(loads.gates),
        "## Data",
        _data(launch, rows),
        "## Use",
        _use(launch, loads),
        "## Limits",
        _limits(launch, metrics),
    ]
    return "\n\n".join(parts) + "\n"


def describe_method(method: MethodSpec) -> str:
    if isinstance(method, AdapterMethod):
        return _adapter(method)
    if isinstance(method, MultiTaskMethod):
        return f"multi-task fine-tuning ({method.sampling} sampling, {method.balancing} losses)"
    if not isinstance(method, FreezeMethod):
        return "full fine-tuning"
    if method.all_layers:
        return "feature extraction (the whole base frozen)"
    return f"fine-tuning with the embeddings and the first {method.num_layers} layers frozen"


def _adapter(method: AdapterMethod) -> str:
    kind = "QLoRA" if isinstance(method, QloraMethod) else "LoRA"
    more = [
        name
        for name, used in {"DoRA": method.use_dora, "rsLoRA": method.use_rslora}.items()
        if used
    ]
    what = ", ".join([f"rank {method.rank}", f"alpha {method.alpha:g}", *more])
    merged = ", merged into its weights" if method.merge else ""
    return f"{kind} ({what}{merged})"


def _front_matter(launch: Launch, metrics: Figures, adapter_of: Origin | None) -> str:
    spec = launch.spec.spec
    results = [
        {
            "task": {"type": _task_of(spec, domain).type},
            "dataset": {"name": domain, "type": domain},
            "metrics": [
                {"type": name, "value": round(float(values[name]), 4)}
                for name in _shown(launch)
                if name in values
            ],
        }
        for domain, values in metrics.items()
    ]
    front = {
        "library_name": "transformers" if adapter_of is None else "peft",
        "pipeline_tag": _PIPELINES[tasks_of(spec)[0].type],
        "base_model": _base(launch) if adapter_of is None else adapter_of.name,
        "tags": ["cross-domain-transfer"],
        "model-index": [{"name": spec.output.name, "results": results}],
    }
    return "---\n" + yaml.safe_dump(front, sort_keys=False).strip() + "\n---"


def _base(launch: Launch) -> str:
    model = launch.spec.spec.model
    assert model is not None, "a task with a model card has a base"
    return model.base


def _shown(launch: Launch) -> tuple[str, ...]:
    spec = launch.spec.spec
    return spec.evaluation.shown_metrics or metrics_of_job(spec).shown


def _main(launch: Launch) -> str:
    """The metric whose floor is shown."""
    return metrics_of_job(launch.spec.spec).shown[0]


def _task_of(spec: FineTuneSpec, key: str) -> TaskSpec:
    return plain_task(spec.tasks[task_of_key(key)]) if spec.tasks else spec.task


def _what(launch: Launch) -> str:
    spec = launch.spec.spec
    if not spec.tasks:
        return _described(spec.task)
    each = [f"`{name}` ({_described(plain_task(task))})" for name, task in spec.tasks.items()]
    return f"{len(each)} tasks over one base: " + ", ".join(each)


def _described(task: TaskSpec) -> str:
    if isinstance(task, TextClassification):
        return _classified(task)
    return f"{task.type} of {task.rows} rows" if isinstance(task, CausalLm) else task.type


def _classified(task: TextClassification) -> str:
    of = " of pairs of texts" if task.has_pairs else ""
    if task.kind == REGRESSION:
        return f"{task.type}{of} as a regression: a number for each"
    labels = ", ".join(task.labels or ())
    if task.kind == MULTI_LABEL:
        return f"{task.type}{of} with any number of {labels}, from {task.decides_from:g} on"
    return f"{task.type}{of} into {labels}"


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
        f"{_what(launch)}; "
        f"{describe_method(spec.method)} of `{_base(launch)}` "
        f"on {', '.join(spec.data.train_on)}. These are {chosen}."
    )


def _results(launch: Launch, metrics: Figures, before: Figures) -> str:
    shown = _shown(launch)
    main = _main(launch)
    learned = learned_keys(launch.spec.spec)
    floors = {name for values in metrics.values() for name in FLOORS if f"{name}_{main}" in values}
    rows = []
    for domain, values in metrics.items():
        role = "trained on" if domain in learned else "transfer"
        cells = [_cell(name, values, before.get(domain)) for name in shown]
        floor = [f"{values[f'{name}_{main}']:.3f}" for name in floors]
        rows.append([domain, role, str(values["num_rows"]), *cells, *floor])
    note = "Before training → after it, with the 95 % bootstrap interval of the latter."
    note += "".join(f" The floor is the {main} of {FLOORS[name]}." for name in floors)
    signatures = {s for v in metrics.values() for s in (v.get("signatures") or {}).values()}
    if signatures:
        note += " sacreBLEU's signatures: " + ", ".join(f"`{s}`" for s in sorted(signatures)) + "."
    header = [
        "task/domain" if launch.spec.spec.tasks else "domain",
        "role",
        "rows",
        *shown,
        *("floor" for _ in floors),
    ]
    return _table(header, rows) + "\n\n" + note


def _per_label(launch: Launch, metrics: Figures) -> list[str]:
    """Of models that give any number of labels: how each fares on each domain."""
    task = launch.spec.spec.task
    if not isinstance(task, TextClassification) or task.kind != MULTI_LABEL:
        return []
    rows = [
        [domain, name, str(found["support"]), str(found["given"])]
        + [f"{found[figure]:.3f}" for figure in ("precision", "recall", "f1")]
        for domain, values in metrics.items()
        for name, found in values.get("per_class", {}).items()
    ]
    header = ["domain", "label", "rows with it", "given", "precision", "recall", "f1"]
    return ["## Each label on test", _table(header, rows)]


def _fairness(metrics: Figures) -> list[str]:
    header, lines = fairness_part(metrics)
    if not lines:
        return []
    return ["## Fairness", _table(header, lines), fairness_note(metrics)]


def _gates(gates: tuple[GateResult, ...]) -> list[str]:
    if not gates:
        return []
    passed = all(gate.passed for gate in gates)
    verdict = "All are passed: this version is promoted." if passed else "It is not promoted."
    lines = "\n".join(f"- {gate.text}" for gate in gates)
    return ["## Gates on valid", f"{lines}\n\n{verdict}"]


CALIBRATION = ("ece", "brier", "loss")


def _calibration(metrics: Figures, before: Figures) -> list[str]:
    """How far probabilities can be believed; nothing where none were judged."""
    if not any("ece" in values for values in metrics.values()):
        return []
    rows = [
        [domain, *(_cell(name, values, before.get(domain)) for name in CALIBRATION)]
        for domain, values in metrics.items()
        if "ece" in values
    ]
    note = (
        "ECE: the mean gap between confidence and accuracy over 15 bins of equal width. Brier: the "
        "mean squared error of the probabilities. Loss: their negative log-likelihood. Smaller is "
        "better; `reliability` in metrics.json has the bins."
    )
    return ["## Calibration on test", _table(["domain", *CALIBRATION], rows) + "\n\n" + note]


def _cell(name: str, values: dict[str, Any], before: dict[str, Any] | None) -> str:
    if name not in values:  # of another one of several tasks
        return "–"
    text = f"{values[name]:.3f}"
    if before and name in before:
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


def _use(launch: Launch, loads: Loads) -> str:
    kind = loads.kind
    if loads.adapter_of is not None:
        return _use_of_adapter(launch, loads.adapter_of, kind)
    tasks = launch.spec.spec.tasks
    folder = "path/to/this/folder"
    if tasks and loads.heads:
        folder += f"/{next(iter(tasks))}"
    lines = [
        f"from transformers import {kind}, AutoTokenizer",
        "",
        f'model = {kind}.from_pretrained("{folder}")',
        f'tokenizer = AutoTokenizer.from_pretrained("{folder}")',
    ]
    if tasks:
        return "\n".join(["```python", *lines, "```"]) + use_of_tasks(tasks, has_heads=loads.heads)
    task = launch.spec.spec.task
    if isinstance(task, TextClassification) and task.has_pairs:
        lines += ["", 'inputs = tokenizer(text, text_pair, truncation=True, return_tensors="pt")']
    prompt = getattr(task, "prompt", None)
    read = f"\n\nThe model reads `{prompt}`." if prompt else ""
    return "\n".join(["```python", *lines, "```"]) + read


def _use_of_adapter(launch: Launch, origin: Origin, kind: str) -> str:
    """How to load it with its labels, which an adapter's config does not hold."""
    task = launch.spec.spec.task
    loaded = f'base = {kind}.from_pretrained("{origin.loadable}")\n'
    if isinstance(task, TextClassification):
        problem = _PROBLEM_TYPES.get(task.kind)
        more = f', problem_type="{problem}"' if problem else ""
        loaded = (
            f"labels = {list(task.labels or ('value',))!r}\n"
            f"base = {kind}.from_pretrained(\n"
            f'    "{origin.loadable}", num_labels=len(labels), '
            f"id2label=dict(enumerate(labels)){more}\n"
            ")\n"
        )
    return (
        f"An adapter: it needs its base, `{origin.name}`, sha256 `{origin.digest[:12]}`.\n\n"
        "```python\nfrom peft import PeftModel\n"
        f"from transformers import {kind}, AutoTokenizer\n\n"
        f"{loaded}"
        'model = PeftModel.from_pretrained(base, "path/to/this/folder")\n'
        'tokenizer = AutoTokenizer.from_pretrained("path/to/this/folder")\n```'
    )


def _limits(launch: Launch, metrics: Figures) -> str:
    spec = launch.spec.spec
    trained = set(learned_keys(spec))
    lines = [
        f"- Texts are cut to {spec.training.max_length} tokens.",
        "- The figures hold for the domains in the table; on other text they are unknown.",
    ]
    main = _main(launch)
    weak = [domain for domain, values in metrics.items() if _is_weak(values, main)]
    if weak:
        lines.append(f"- No better than the floor on: {', '.join(weak)}.")
    if not trained.issuperset(metrics):
        elsewhere = ", ".join(sorted(set(metrics) - trained))
        lines.append(f"- Never saw text of: {elsewhere}; the figures there show transfer.")
    return "\n".join(lines)


def _is_weak(values: dict[str, Any], metric: str) -> bool:
    floor = floor_of(values, metric)
    if floor is None or metric not in values:
        return False
    smaller = metric in METRICS_TO_MINIMIZE
    return bool(values[metric] >= floor if smaller else values[metric] <= floor)


def _table(header: list[str], rows: Iterable[list[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
