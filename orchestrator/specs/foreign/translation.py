"""What translations share: reading each key once, and telling what became of it.

A key that nothing has read is unknown, and is told as such: no key gets lost in silence.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

FILL_IN = "FILL-IN"
"""Begins what a person has to write."""

FOLLOWED = "how runs are followed is the orchestrator's own: watch, logs and metrics"
OWN_WAY = "it does not change what is learned; the orchestrator has its own way"
BY_WORKER = "what is installed and fits is chosen by the worker"
OWN_TEMPLATE = "chats are put into the base's own template"
REASONS = {
    "trust_remote_code": "no code of a model is ever run",
    "resume_from_checkpoint": "an unfinished run resumes by itself",
    "neftune_noise_alpha": "noise on embeddings is not to be had",
    "hub_model_id": "models are published to a store; push them from there",
}
"""Why keys are left out that the tools have in common."""

_SCHEDULES = {
    **{name: name for name in ("linear", "cosine", "constant")},
    "constant_with_warmup": "constant",
}
_ADAMW = frozenset({"adamw", "adamw_torch", "adamw_torch_fused", "adamw_hf", "adamw_apex_fused"})
_MODULE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z0-9_]+)*")


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A setting that the spec does not have."""

    key: str
    value: Any
    reason: str


@dataclass
class Translated:
    """The body of a spec, remarks on its fields, and what is not in it."""

    body: dict[str, Any] = field(default_factory=dict)
    remarks: dict[str, str] = field(default_factory=dict)  # path -> why the field is as it is
    left_out: list[LeftOut] = field(default_factory=list)

    def put(self, path: str, value: Any, remark: str | None = None) -> None:
        *parents, last = path.split(".")
        place = self.body
        for parent in parents:
            place = place.setdefault(parent, {})
        place[last] = value
        if remark:
            self.remarks[path] = remark


class Keys:
    """A document whose keys are read once each."""

    def __init__(self, document: Mapping[str, Any], found: Translated) -> None:
        self._left = {key: value for key, value in document.items() if not _is_unset(value)}
        self.found = found

    def take(self, *names: str) -> Any:
        """The first of these that is set; all of them are read."""
        values = [self._left.pop(name, None) for name in names]
        return next((value for value in values if value is not None), None)

    def number(self, name: str, path: str) -> None:
        """Carries a number over as it is."""
        value = self.take(name)
        if value is None:
            return
        if isinstance(value, str):  # YAML 1.1 reads 2e-5 as text
            try:
                value = float(value)
            except ValueError:
                self.leave(name, value, "it is no number")
                return
        self.found.put(path, value)

    def leave(self, key: str, value: Any, reason: str) -> None:
        self.found.left_out.append(LeftOut(key, value, reason))

    def leave_if_set(self, reasons: Mapping[str, str]) -> None:
        """Keys without a counterpart, each with its reason; what switches off is no loss."""
        for name, reason in reasons.items():
            value = self.take(name)
            if value is not None and value is not False:
                self.leave(name, value, reason)

    def finish(self) -> None:
        """Everything that nobody asked for; a switch that is off changes nothing."""
        for key, value in self._left.items():
            if value is not False:
                self.leave(str(key), value, "this importer does not know the key")
        self._left = {}


def carry_optimizer(keys: Keys, scheduler: str, optimizer: str) -> None:
    """Schedule and optimizer, by the names transformers gives them."""
    name = keys.take(scheduler)
    if name in _SCHEDULES:
        keys.found.put("training.schedule", _SCHEDULES[name])
    elif name is not None:
        keys.leave(scheduler, name, "schedules are linear, cosine and constant; linear is used")
    name = keys.take(optimizer)
    if name is not None and name not in _ADAMW:
        keys.leave(optimizer, name, "the optimizer is AdamW")


def carry_precision(keys: Keys, names: Iterable[str] = ("bf16",)) -> None:
    """bf16 before fp16 before tf32 before fp32; `auto` is bf16, which GPUs since Ampere have."""
    bf16 = [keys.take(name) for name in names]
    fp16 = keys.take("fp16", "float16")
    tf32 = keys.take("tf32")
    if any(value not in (None, False) for value in bf16):
        keys.found.put("training.precision", "bf16")
    elif fp16 not in (None, False):
        keys.found.put("training.precision", "fp16")
    elif tf32 not in (None, False):
        keys.found.put("training.precision", "tf32")


def carry_batch(keys: Keys, micro: str, accumulation: str, workers: int) -> None:
    """Rows of a step: those of a worker, times accumulation, times workers."""
    rows = int(keys.take(micro) or 1)
    steps = int(keys.take(accumulation) or 1)
    keys.found.put(
        "training.global_batch_size",
        rows * steps * workers,
        f"{rows} rows x {steps} accumulation steps x {workers} workers",
    )
    keys.found.put("engine.micro_batch_size", rows)
    keys.found.put(
        "resources.workers",
        workers,
        "The file does not say how many GPUs it is started on; with more workers raise "
        "training.global_batch_size alike."
        if workers == 1
        else None,
    )
    keys.found.put("resources.gpus_per_worker", 1)


def carry_deepspeed(keys: Keys) -> None:
    """ZeRO's stage and offload, by the name of DeepSpeed's file, which is not opened."""
    value = keys.take("deepspeed")
    if value is None:
        return
    name = str(value).rsplit("/", 1)[-1].lower()
    stage = re.search(r"z(?:ero)?[_-]?([0-3])", name)
    if not isinstance(value, str) or stage is None:
        keys.leave("deepspeed", value, "its name tells no ZeRO stage; the plan chooses one")
        return
    keys.found.put("engine.zero_stage", int(stage[1]), f"by the name of {value}")
    if "offload" in name:
        what = "parameters" if "param" in name or stage[1] == "3" else "optimizer"
        keys.found.put("engine.offload", what)
    keys.leave("deepspeed", value, "of the file only the stage in its name is taken over")


def is_hub(name: str) -> bool:
    """Whether it is org/name, and not a folder."""
    return re.fullmatch(r"[\w.-]+/[\w.-]+", name) is not None and not name.startswith(".")


def base_of(name: str) -> str:
    """A base as a spec names it: a model of the hub, or a folder."""
    return f"hf://{name}" if is_hub(name) else name


def target_modules(keys: Keys, name: str, value: Any) -> list[str] | None:
    """Module names of a list or of names with commas; a pattern is left out."""
    names = value.split(",") if isinstance(value, str) else list(value)
    names = [str(entry).strip() for entry in names]
    if not all(_MODULE.fullmatch(entry) for entry in names):
        keys.leave(name, value, "modules are named, not matched by a pattern; all layers get one")
        return None
    return names


def fill_in_test(found: Translated, domain: str) -> None:
    """A spec measures on rows that training never sees; other tools do without."""
    splits = found.body["data"]["domains"][domain]
    if "test" not in splits:
        splits["test"] = [{"path": f"{FILL_IN}/test.jsonl"}]
        found.remarks[f"data.domains.{domain}.test"] = (
            "Rows that training never sees: the other tool measures on none. Write where they lie."
        )
        found.left_out.append(
            LeftOut(
                f"data.domains.{domain}.test",
                None,
                "to be filled in: the file names no rows to test on, and a spec needs them",
            )
        )


def _is_unset(value: Any) -> bool:
    return value is None or value == "" or value == [] or value == {}
