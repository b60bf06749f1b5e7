"""Did you mean: what to write instead of a field or value that a spec does not know.

Used by `specs.explain` and `specs.checks`; pure.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from orchestrator.specs.document import Steps
from orchestrator.specs.fields import FieldRef, all_fields

# What people know these fields as from other tools -> the sentence that leads them here.
_ELSEWHERE = {
    "accumulation_steps": "it follows from training.global_batch_size and engine.micro_batch_size",
    "base_model": "write model.base",
    "batch_size": "write training.global_batch_size (rows in a step over all workers) "
    "or engine.micro_batch_size (rows a worker holds at once)",
    "bf16": "write training.precision: bf16",
    "checkpoint_steps": "write checkpoint.every_steps",
    "config_name": "write config",
    "dataset": "write data.domains.<name>.train: [{path: …}], or {hub: …} for a hub data set",
    "deepspeed": "write engine.zero_stage, engine.offload and engine.micro_batch_size",
    "dev": "write valid",
    "dropout": "the model's own configuration decides it",
    "eval": "write test, or valid for decisions during training",
    "eval_steps": "write selection.every_steps",
    "file": "write path",
    "files": "write path, which may be a folder or a glob",
    "fp16": "write training.precision: fp16",
    "gpus": "write resources.gpus_per_worker",
    "gradient_accumulation_steps": "it follows from training.global_batch_size, "
    "resources.workers and engine.micro_batch_size",
    "gradient_clipping": "write training.max_grad_norm",
    "label_column": "write columns: {label: <column>} in each source",
    "lr": "write training.learning_rate",
    "lr_scheduler": "write training.schedule",
    "lr_scheduler_type": "write training.schedule",
    "max_seq_length": "write training.max_length",
    "model_name": "write model.base, or output.name for what is published",
    "model_name_or_path": "write model.base",
    "num_epochs": "write training.epochs",
    "num_train_epochs": "write training.epochs",
    "num_workers": "write resources.workers",
    "output_dir": "write output.store",
    "per_device_train_batch_size": "write engine.micro_batch_size",
    "pretrained": "write model.base",
    "save_steps": "write checkpoint.every_steps",
    "save_total_limit": "write checkpoint.keep",
    "text_column": "write columns: {text: <column>} in each source",
    "url": "write path",
    "val": "write valid",
    "validation": "write valid",
    "validation_split": "write data.valid_fraction",
    "world_size": "write resources.workers",
    "zero": "write engine.zero_stage",
    "zero_optimization": "write engine.zero_stage",
}


def place_of(steps: Steps) -> str:
    """Where a field lies, as `FieldRef.parent` writes it: `data.domains.<name>.train[]`."""
    known = {ref.path for ref in all_fields()}
    place = ""
    for step in steps[1:] if steps[:1] == ("spec",) else steps:
        if isinstance(step, int):
            place += "[]"
            continue
        named = f"{place}.{step}" if place else step
        place = named if named in known else f"{place}.<name>"
    return place


def unknown_field(above: Steps, name: str) -> str:
    """The hint for a field `name` that the model at `above` does not have."""
    place = place_of(above) if above else ""
    at_top = not above
    siblings = [ref.name for ref in all_fields() if ref.parent == place and _at_top(ref) == at_top]
    if at_top and any(ref.name == name and not _at_top(ref) for ref in _sections()):
        return f"indent it below `spec:`, as spec.{name}"
    for sibling in siblings:
        if _bare(sibling) == _bare(name):
            return f"write {sibling}"
    if _snake(name) in _ELSEWHERE:
        return _ELSEWHERE[_snake(name)]
    for ref in all_fields():
        if ref.name == name and not _at_top(ref):
            return f"write {ref.path}"
    near = closest(name, siblings)
    if near:
        return f"did you mean {near}?"
    far = closest(name, [ref.name for ref in all_fields()])
    if far:
        return f"did you mean {next(ref.path for ref in all_fields() if ref.name == far)}?"
    return "fields here: " + ", ".join(sorted(set(siblings)))


def closest(name: str, known: Iterable[str]) -> str | None:
    """The known word nearest to `name`, if one is near."""
    by_lower = {word.lower(): word for word in known}
    found = difflib.get_close_matches(name.lower(), list(by_lower), n=1, cutoff=0.7)
    return by_lower[found[0]] if found else None


def _sections() -> list[FieldRef]:
    return [ref for ref in all_fields() if ref.parent == ""]


def _at_top(ref: FieldRef) -> bool:
    """Whether a field stands beside `spec` rather than below it."""
    return ref.parent == "" and ref.owner.__name__ == "FineTune"


def _bare(name: str) -> str:
    return name.replace("_", "").replace("-", "").lower()


def _snake(name: str) -> str:
    """learningRate, learning-rate -> learning_rate"""
    parts = ("_" + c.lower() if c.isupper() else c for c in name.replace("-", "_"))
    return "".join(parts).lstrip("_")
