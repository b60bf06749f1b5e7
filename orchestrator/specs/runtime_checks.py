"""Contradictions within `runtime`, and between it and what names a part of it; of `specs.checks`.

Whether the code holds what is named is told by `inspect.code_checks`, which opens it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from orchestrator.errors import Problem
from orchestrator.specs.finetune import FineTune, FineTuneSpec
from orchestrator.specs.metrics import FLOORS, METRIC_NAMES
from orchestrator.specs.runtime import secret_variable
from orchestrator.specs.task import CustomTask

EntryAt = tuple[str, str]
"""A field's path, and the entry point it holds."""

# Variables by which an Attempt finds its peers, its store and its own libraries.
_OURS = re.compile(
    r"RAY_.*|ORCHESTRATOR_.*|PYTHON.*|LD_.*|DYLD_.*|TORCHELASTIC_.*|AWS_.*|GOOGLE_.*|AZURE_.*"
    r"|(LOCAL_|GROUP_|ROLE_|NODE_)?(RANK|WORLD_SIZE)|MASTER_(ADDR|PORT)|.*_VISIBLE_DEVICES"
    r"|(GLOO|NCCL)_SOCKET_IFNAME|DS_ACCELERATOR|TORCH_EXTENSIONS_DIR|HF_HUB_OFFLINE"
    r"|PATH|HOME|SHELL|USER|TMPDIR|TMP|TEMP|VIRTUAL_ENV|XDG_.*",
    re.IGNORECASE,
)
_SECRET = re.compile(
    r"(.*_)?(TOKEN|SECRET|PASSWORD|PASSWD|PASSPHRASE|CREDENTIALS?|API_?KEY|(ACCESS|PRIVATE)_KEY)",
    re.IGNORECASE,
)

# What a script of one's own does itself: a function for it would never be called.
_DONE_BY_SCRIPTS = ("data.transform", "data.collator", "training.loss", "evaluation.custom_metrics")

RESERVED_METRICS = frozenset(
    {
        *METRIC_NAMES,
        *("num_rows", "per_class", "confusion_matrix", "intervals", "reliability", "threshold"),
        *("label_mean", "label_std"),
        *(f"{floor}_{metric}" for floor in FLOORS for metric in METRIC_NAMES),
    }
)
"""What figures of a split hold already."""


def entry_points(body: FineTuneSpec) -> Iterator[EntryAt]:
    """Every function of `runtime.code` that the spec names."""
    single = {
        "data.transform": body.data.transform,
        "data.collator": body.data.collator,
        "training.loss": body.training.loss,
    }
    yield from ((path, entry) for path, entry in single.items() if entry is not None)
    for name, entry in (body.evaluation.custom_metrics or {}).items():
        yield f"evaluation.custom_metrics.{name}", entry


def _code_given(spec: FineTune) -> Iterator[Problem]:
    if spec.spec.runtime.code is not None:
        return
    hint = "write runtime.code: ./folder, the folder of its file"
    for path, entry in entry_points(spec.spec):
        yield Problem(f"{entry} is in runtime.code, which is not given", path=path, hint=hint)
    if isinstance(spec.spec.task, CustomTask):
        message = f"{spec.spec.task.entrypoint} is in runtime.code, which is not given"
        yield Problem(message, path="task.entrypoint", hint=hint)


def _done_by_script(spec: FineTune) -> Iterator[Problem]:
    if not isinstance(spec.spec.task, CustomTask):
        return
    for path, _ in entry_points(spec.spec):
        if path.startswith(_DONE_BY_SCRIPTS):
            message = "a custom task's script does this itself, so it would never be called"
            yield Problem(message, path=path, hint="remove it")


def _env(spec: FineTune) -> Iterator[Problem]:
    for name in spec.spec.runtime.env:
        path = f"runtime.env.{name}"
        if _OURS.fullmatch(name):
            message = f"{name} decides how workers find each other, their store or their libraries"
            yield Problem(message, path=path, hint="remove it, or choose another name")
        elif _SECRET.fullmatch(name):
            message = f"{name} looks like a secret, and specs are shown and published"
            hint = f"name it in runtime.secrets: [{name.lower().replace('_', '-')}]"
            yield Problem(message, path=path, hint=hint)


def _secrets(spec: FineTune) -> Iterator[Problem]:
    runtime = spec.spec.runtime
    for index, name in enumerate(runtime.secrets):
        path, variable = f"runtime.secrets[{index}]", secret_variable(name)
        if name in runtime.secrets[:index]:
            yield Problem(f"'{name}' is listed twice", path=path, hint="remove one")
        elif _OURS.fullmatch(variable):
            message = f"'{name}' would become {variable}, which is the system's own"
            yield Problem(message, path=path, hint="ask the operator for another name")
        elif variable in runtime.env:
            message = f"'{name}' becomes {variable}, which runtime.env gives already"
            yield Problem(message, path=path, hint=f"remove runtime.env.{variable}")
        elif not re.match(r"[a-z]", name):
            message = f"'{name}' cannot be the name of a variable"
            yield Problem(message, path=path, hint="it must begin with a letter")


def _custom_metrics(spec: FineTune) -> Iterator[Problem]:
    for name in spec.spec.evaluation.custom_metrics or ():
        if name in RESERVED_METRICS:
            path = f"evaluation.custom_metrics.{name}"
            hint = f"call it otherwise, e.g. my_{name}"
            yield Problem(f"'{name}' is measured already", path=path, hint=hint)


CHECKS: tuple[tuple[tuple[str, ...], Callable[[FineTune], Iterator[Problem]]], ...] = (
    (("runtime.code", "task.type", "task.entrypoint", *_DONE_BY_SCRIPTS), _code_given),
    (("task.type", *_DONE_BY_SCRIPTS), _done_by_script),
    (("runtime.env",), _env),
    (("runtime.env", "runtime.secrets"), _secrets),
    (("evaluation.custom_metrics",), _custom_metrics),
)
