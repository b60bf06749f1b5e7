"""A commented spec to start from, its comments taken from the fields' own descriptions.

Called by `orchestrator init`. What a newcomer sets is written out; every other field stands there
as a comment with its default or an example, ready to be uncommented.
"""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterator, Mapping

from orchestrator.errors import InvalidInput, Problem
from orchestrator.specs.data import SPLITS
from orchestrator.specs.fields import FieldRef, all_fields
from orchestrator.specs.finetune import API_VERSION
from orchestrator.specs.metrics import METRICS_TO_MINIMIZE, PROBLEM_METRICS, TASK_METRICS
from orchestrator.specs.task import (
    TASK_COLUMNS,
    CausalLm,
    Denoising,
    MaskedLm,
    Summarization,
    TextClassification,
    Translation,
)

_WIDTH = 96

# Fields that are set in the template: what people change first.
_WRITTEN = {
    "training.epochs": "3",
    "training.learning_rate": "5.0e-5",
    "training.global_batch_size": "32",
    "training.max_length": "128",
    "training.seed": "0",
    "resources.workers": "1",
}
# What stands in the comment of a field whose default is to be chosen.
_EXAMPLES = {
    "model.revision": "main",
    "task.labels": "[negative, positive]",
    "task.problem": "multi_label",
    "task.pairs": "true",
    "task.label_separator": "';'",
    "task.threshold": "0.5",
    "task.class_weights": "{balanced: true}",
    "task.source_language": "en_XX",
    "task.target_language": "de_DE",
    "training.max_target_length": "128",
    "evaluation.batch_size": "64",
    "evaluation.gates": "[{metric: mean/loss, at_most: 0.7}]",
    "evaluation.generation": "{max_samples: 200, num_beams: 4}",
    "evaluation.slices": "{country: {column: country}, length: {lengths: [10, 30]}}",
    "evaluation.explain": "true",
    "evaluation.explanations": "{samples_per_class: 5, worst_errors: 10}",
    "data.train_on": "[…]",
    "training.max_steps": "1000",
    "training.warmup_ratio": "0.06",
    "training.warmup_steps": "100",
    "training.layer_decay": "0.9",
    "training.early_stopping": "{patience: 3}",
    "data.mixing": "{strategy: temperature, temperature: 2.0}",
    "data.transform": "rows:cleaned",
    "data.collator": "batches:collate",
    "training.loss": "losses:focal",
    "evaluation.custom_metrics": "{cost: metrics:cost}",
    "runtime.code": "./code",
    "runtime.env": "{HF_HUB_OFFLINE: '1'}",
    "runtime.secrets": "[hf-token]",
    "engine.zero_stage": "2",
    "engine.micro_batch_size": "8",
    "engine.gradient_checkpointing": "true",
    "engine.offload": "none",
    "resources.memory_gb_per_worker": "8",
    "resources.accelerator": "A100-80GB",
    "scheduling.after": "[prepare-base]",
    "scheduling.node_labels": "{zone: a}",
    "scheduling.pre_running_seconds": "86400",
    "scheduling.active_seconds": "36000",
    "scheduling.hang_seconds": "1800",
    "scheduling.ttl_seconds_after_finished": "604800",
    "checkpoint.every_steps": "100",
    "checkpoint.every_minutes": "20",
    "selection.every_steps": "50",
    "output.store": "models",
    "output.name": "my-model",
}
_TASKS = {
    "text-classification": TextClassification,
    "causal-lm": CausalLm,
    "masked-lm": MaskedLm,
    "denoising": Denoising,
    "translation": Translation,
    "summarization": Summarization,
}
_EXAMPLES_OF_TASKS = {
    ("translation", "prompt"): "'English: {source} German:'",
    ("summarization", "prompt"): "'Summarize: {text}'",
    ("denoising", "objective"): "infill",
    ("denoising", "masked_share"): "0.3",
}
_OF_TEXTS = frozenset({"training.max_target_length", "evaluation.generation"})
_OF_CLASSES = frozenset(
    {
        *("training.loss", "data.collator", "evaluation.custom_metrics"),
        *("evaluation.explain", "evaluation.explanations"),
    }
)
WITHOUT_EFFECT = {
    "text-classification": _OF_TEXTS,
    "causal-lm": _OF_TEXTS | _OF_CLASSES,
    "masked-lm": _OF_TEXTS | _OF_CLASSES,
    "denoising": _OF_TEXTS | _OF_CLASSES,
    "translation": _OF_CLASSES,
    "summarization": _OF_CLASSES,
}
PRETRAINED = frozenset({"masked-lm", "denoising"})
"""Tasks that one method alone learns."""
_SECTIONS = (
    "training", "engine", "resources", "scheduling", "checkpoint", "selection", "evaluation",
    "runtime", "output",
)  # fmt: skip


def write_template(
    task: str,
    domains: Mapping[str, Mapping[str, str]],
    name: str,
    *,
    base: str = "hf://sentence-transformers/all-MiniLM-L6-v2",
    columns: Mapping[str, str] | None = None,
    chosen: Mapping[str, str] | None = None,
) -> str:
    """YAML of a FineTune; `domains` gives each domain's splits and the path of each.

    `chosen` are fields of the task that are set, with their values.

    Raises InvalidInput for a task that is not known.
    """
    if task not in TASK_COLUMNS:
        known = ", ".join(TASK_COLUMNS)
        raise InvalidInput([Problem(f"unknown task '{task}'", hint=f"one of {known}")])
    lines = [
        "# A fine-tuning job. With this file's name for SPEC:",
        "#   orchestrator validate SPEC   what is wrong with it and with its data",
        "#   orchestrator plan SPEC       what it needs and how long it takes",
        "#   orchestrator run SPEC        train, evaluate and publish",
        f"apiVersion: {API_VERSION}",
        "kind: FineTune",
        "metadata:",
        *_field("metadata.name", _scalar(name), 2),
        *_field("metadata.labels", None, 2, example="{project: reviews}"),
        "spec:",
        *_section("model", {"model.base": _scalar(base)}, task),
        *_task(task, chosen or {}),
        *_data(domains, columns, task),
        *_method(task),
    ]
    for section in _SECTIONS:
        # A section of comments only would be null, which is as good as absent.
        lines += _section(section, _WRITTEN, task, chosen or {})
    return "\n".join(lines) + "\n"


def _task(task: str, chosen: Mapping[str, str]) -> Iterator[str]:
    yield from _head("task")
    yield f"    type: {task}"
    for ref in all_fields():
        if ref.owner is _TASKS[task] and ref.name != "type":
            example = _EXAMPLES_OF_TASKS.get((task, ref.name))
            yield from _field_of(ref, chosen.get(ref.name), 4, example=example)
    yield from _comment("Or a script of yours, in runtime.code:", 4)
    yield from _comment("{type: custom, entrypoint: train.py, arguments: {steps: '40'}}", 4)
    several = "Or several over one base: their names with {type: …, domains: […]} each in `tasks`, "
    yield from _comment(f"{several}instead of `task`, with method.type: multi_task.", 4)


def _section(
    section: str, written: Mapping[str, str], task: str, chosen: Mapping[str, str] | None = None
) -> Iterator[str]:
    yield from _head(section)
    problem = (chosen or {}).get("problem")
    metrics = PROBLEM_METRICS[problem] if problem else TASK_METRICS[task]
    smaller = metrics.selection.rpartition("/")[2] in METRICS_TO_MINIMIZE
    examples = {
        "selection.metric": metrics.selection,
        "selection.mode": "min" if smaller else "max",
        "evaluation.metrics": f"[{', '.join(metrics.shown[:2])}]",
    }
    for ref in all_fields():
        if ref.parent == section and ref.path not in WITHOUT_EFFECT[task]:
            yield from _field(ref.path, written.get(ref.path), 4, examples.get(ref.path))


def _head(section: str) -> Iterator[str]:
    yield ""
    yield from _comment(_ref(section).description, 2)
    yield f"  {section}:"


def _data(
    domains: Mapping[str, Mapping[str, str]], columns: Mapping[str, str] | None, task: str
) -> Iterator[str]:
    yield from _head("data")
    yield from _comment(_ref("data.domains").description, 4)
    yield from _comment("A source is a file, folder or glob, or an s3://, gs:// or az:// URL:", 4)
    yield from _comment("{path, format, columns, weight}; or {hub, config, split, revision}.", 4)
    yield "    domains:"
    shown = ""
    if columns:
        inner = ", ".join(f"{role}: {_scalar(column)}" for role, column in columns.items())
        shown = f", columns: {{{inner}}}"
    for domain, splits in domains.items():
        yield f"      {_scalar(domain)}:"
        for split in SPLITS:
            if split in splits:
                yield f"        {split}: [{{path: {_scalar(splits[split])}{shown}}}]"
    trained = [domain for domain, splits in domains.items() if "train" in splits]
    example = f"[{', '.join(map(_scalar, trained))}]"
    yield from _field("data.train_on", None, 4, example=example)
    for path in ("data.valid_fraction", "data.mixing", "data.transform", "data.collator"):
        if path not in WITHOUT_EFFECT[task]:
            yield from _field(path, None, 4)


def _method(task: str) -> Iterator[str]:
    yield from _head("method")
    if task in PRETRAINED:
        yield "    type: pretrain"
        return
    yield "    type: full"
    yield from _comment("{type: freeze, num_layers: 4} keeps the embeddings and 4 layers;", 4)
    if task == "text-classification":
        yield from _comment("{type: freeze, all_layers: true} trains the head only;", 4)
    yield from _comment("{type: lora, rank: 16} trains small matrices beside the frozen base.", 4)


def _field(path: str, value: str | None, indent: int, example: str | None = None) -> Iterator[str]:
    return _field_of(_ref(path), value, indent, example)


def _field_of(
    ref: FieldRef, value: str | None, indent: int, example: str | None = None
) -> Iterator[str]:
    """A field with its description above it; commented out where it has no value."""
    yield from _comment(_explained(ref), indent)
    if value is not None:
        yield f"{' ' * indent}{ref.name}: {value}"
        return
    default = example or _EXAMPLES.get(ref.path)
    if default is None:
        default = _scalar(ref.info.get_default())
    yield f"{' ' * indent}# {ref.name}: {default}"


def _explained(ref: FieldRef) -> str:
    if len(ref.choices) > 1 and ref.name != "metrics":
        shown = ", ".join(str(choice) for choice in ref.choices)
        return f"{ref.description} One of {shown}."
    return ref.description


def _comment(text: str, indent: int) -> list[str]:
    lead = " " * indent + "# "
    return textwrap.wrap(
        text, _WIDTH, initial_indent=lead, subsequent_indent=lead, break_long_words=False
    )


def _ref(path: str) -> FieldRef:
    return next(ref for ref in all_fields() if ref.path == path)


def _scalar(value: object) -> str:
    """A value as YAML reads it back unchanged: text in quotes where it must be."""
    if isinstance(value, str):
        plain = re.fullmatch(r"[A-Za-z][A-Za-z0-9_./@-]*", value)
        reserved = value.lower() in ("true", "false", "null", "yes", "no", "on", "off", "y", "n")
        return value if plain and not reserved else json.dumps(value, ensure_ascii=False)
    return json.dumps(value)
