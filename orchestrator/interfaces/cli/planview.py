"""A Plan as a person reads it: what it takes, what was chosen, and why it fits or not.

Called by `plan`, and by `run` when the plan refuses.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.console import RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from orchestrator.interfaces.cli import figures
from orchestrator.interfaces.cli.preview import class_counts_text, draws_table
from orchestrator.interfaces.cli.tables import labelled, plain_table
from orchestrator.specs import CustomTask

if TYPE_CHECKING:
    from orchestrator.control.admission.records import Estimates, MemoryPlan, Plan, SplitPlan

_PARTS = ("weights", "gradients", "optimizer", "activations", "logits", "buffers", "process")
_TIMES = ("start", "before", "train", "valid", "checkpoint", "test", "publish")


def plan_views(plan: Plan) -> Iterator[RenderableType]:
    """Everything about a plan in the order it is printed; the verdict comes last."""
    found = plan.estimates
    yield labelled(_subject(plan, found))
    if found is not None:
        yield Text()
        yield _beside(_worker_table(found.memory), _stages_table(found.memory))
        yield Text()
        yield labelled(_costs(plan, found))
        yield Text()
        yield _splits_table(plan)
    if len(plan.draws) > 1 or plan.spec.spec.data.mixing is not None:
        yield Text()
        yield draws_table(plan.draws)
    if plan.choices:
        yield Text()
        yield Text("Chosen by the plan", style="dim")
        yield labelled((f"  {c.path}", f"{c.value}: {c.why}") for c in plan.choices)
    for warning in plan.warnings:
        yield Text()
        yield Text.assemble(("warning: ", "yellow"), warning)
    yield Text()
    yield from verdict_views(plan)


def verdict_views(plan: Plan) -> Iterator[RenderableType]:
    """The verdict, and for a refusal each reason with the change that would make it fit."""
    if plan.fits:
        about = f": about {figures.duration(plan.time.total_seconds)}" if plan.time else ""
        yield Text.assemble(("fits", "bold green"), about)
        return
    yield Text.assemble(("refused", "bold red"), ": it would not work like this")
    for reason in plan.reasons:
        message = Text.assemble((f"{reason.path}:", "cyan"), f" {reason.message}")
        change = Text.assemble("→ ", (reason.change, "bold"))
        yield Padding(message, (0, 0, 0, 2), expand=False)
        yield Padding(change, (0, 0, 0, 4), expand=False)


def _subject(plan: Plan, found: Estimates | None) -> Iterator[tuple[str, str]]:
    spec = plan.spec.spec
    yield "Job", plan.spec.metadata.name
    if (model := spec.model) is not None:
        yield "Base", model.base + (f" at {model.revision}" if model.revision else "")
    if plan.identity.code is not None:
        yield "Code", f"{spec.runtime.code}, sha256 {plan.identity.code[:12]}"
    resources = spec.resources
    each = f"{resources.cpus_per_worker} CPU" + (
        f" and {resources.gpus_per_worker} GPU" if resources.gpus_per_worker else ""
    )
    if found is None:
        yield "Runs", spec.task.entrypoint if isinstance(spec.task, CustomTask) else spec.task.type
        yield "On", f"{resources.workers} × {each}"
        return
    trained = figures.count(found.trainable_parameters)
    total = figures.count(found.total_parameters)
    share = "all" if found.trainable_parameters == found.total_parameters else trained
    domains = ", ".join(spec.data.train_on or ())
    yield "Trains", f"{share} of {total} parameters ({spec.method.type}) on {domains}"
    engine = spec.engine
    how = f"DeepSpeed ZeRO-{engine.zero_stage}" if engine.strategy == "deepspeed" else "DDP"
    offload = f", offloads {engine.offload}" if engine.offload not in (None, "none") else ""
    yield "On", f"{resources.workers} × {each}, {how}, {spec.training.precision}{offload}"


def _costs(plan: Plan, found: Estimates) -> Iterator[tuple[str, str]]:
    steps, time, disk, saved = found.steps, found.time, found.disk, found.checkpoint
    spec = plan.spec.spec
    yield (
        "Steps",
        f"{steps.total:,} ({steps.per_epoch:,} an epoch, {steps.epochs:g} epochs), "
        f"{steps.warmup:,} to warm up, {steps.evaluations:,} evaluations on valid",
    )
    yield (
        "Batch",
        f"{spec.training.global_batch_size:,} rows = {spec.resources.workers} workers × "
        f"{spec.engine.micro_batch_size} rows × {steps.accumulation} accumulated",
    )
    how = "counted" if steps.tokens_measured else "assumed"
    per_row = f"{steps.tokens_per_row:.0f} a row, {how}"
    yield "Tokens", f"{figures.count(steps.tokens)} ({per_row}; {steps.tokens_per_step:,} a step)"
    parts = [(name, getattr(time, f"{name}_seconds")) for name in _TIMES]
    shown = ", ".join(f"{name} {figures.duration(seconds)}" for name, seconds in parts if seconds)
    yield "Time", f"about {figures.duration(time.total_seconds)}: {shown}"
    speed = f"{figures.duration(time.step_seconds)} a step, {time.samples_per_second:,.0f} rows/s"
    yield "Speed", f"{speed} ({time.basis})"
    yield (
        "Checkpoints",
        f"{saved.count:,} of {figures.size(saved.size_bytes)}; each stops training for "
        f"{figures.duration(saved.stall_seconds)} and is sent in "
        f"{figures.duration(saved.upload_seconds)} behind it",
    )
    model, checkpoints = figures.size(disk.model_bytes), figures.size(disk.checkpoints_bytes)
    kept = f"model {model}, checkpoints {checkpoints}"
    where = "" if disk.store_is_local else " in the store"
    yield (
        "Disk",
        f"{figures.size(disk.needed_bytes)} of {figures.size(disk.free_bytes)} free here; "
        f"{kept}{where}, scratch {figures.size(disk.scratch_bytes)}",
    )
    yield "Memory", _memory_text(found.memory)
    if (least := plan.fewest) is not None:
        noun = "worker" if least.workers == 1 else "workers"
        yield (
            "At least",
            f"{least.workers} {noun} × {least.micro_batch_size} rows, "
            f"{figures.size(least.worker_bytes)} each, "
            f"about {figures.duration(least.total_seconds)}",
        )


def _memory_text(memory: MemoryPlan) -> str:
    text = (
        f"{figures.size(memory.host_bytes)} of {figures.size(memory.host_limit_bytes)} "
        f"({figures.size(memory.host_available_bytes)} free now), "
        f"Ray and the rest {figures.size(memory.runtime_bytes)} of it"
    )
    if memory.gpu_limit_bytes is not None:
        gpu = f"{figures.size(memory.worker_bytes)} of {figures.size(memory.gpu_limit_bytes)}"
        text += f"; each GPU {gpu}"
    return text


def _worker_table(memory: MemoryPlan) -> Table:
    where = "GPU" if memory.device == "gpu" else "worker"
    table = plain_table(f"memory of a {where}", ">")
    for part in _PARTS:
        table.add_row(part, figures.size(getattr(memory.worker, f"{part}_bytes")))
    table.add_row(
        Text("at its peak", style="bold"), Text(figures.size(memory.worker_bytes), style="bold")
    )
    if memory.device == "gpu":
        table.add_row("host, in training", figures.size(memory.host_worker_bytes))
    table.add_row("host, at load", figures.size(memory.host_load_bytes))
    if memory.snapshot_bytes:
        table.add_row("host, copy of a checkpoint", figures.size(memory.snapshot_bytes))
    return table


def _stages_table(memory: MemoryPlan) -> Table:
    table = plain_table("with", "precision", ">in all", "")
    for stage in memory.by_stage:
        name = f"ZeRO-{stage.zero_stage}" if stage.strategy == "deepspeed" else "DDP"
        style = "bold" if stage.chosen else ""
        cells = (name, stage.precision, figures.size(stage.worker_bytes))
        mark = "← chosen" if stage.chosen else ""
        table.add_row(*(Text(cell, style=style) for cell in (*cells, mark)))
    return table


def _beside(left: Table, right: Table) -> RenderableType:
    grid = Table.grid(padding=(0, 5, 0, 0))
    grid.add_row(left, right if right.row_count else "")
    return grid


def _numbers(split: SplitPlan) -> str:
    if split.label_mean is None or split.label_std is None:
        return ""
    return f"mean {split.label_mean:.3g}, deviation {split.label_std:.3g}"


def _splits_table(plan: Plan) -> Table:
    table = plain_table("domain", "split", ">rows", ">cut", "classes")
    for split in plan.splits:
        share = split.truncated_share
        table.add_row(
            split.domain,
            f"{split.split}*" if split.held_out else split.split,
            f"{split.num_rows:,}",
            figures.NOTHING if share is None else figures.percent(share),
            class_counts_text(split.class_counts) or _numbers(split),
        )
    if any(split.held_out for split in plan.splits):
        table.caption = f"* held out of train, {plan.spec.spec.data.valid_fraction:g} of it"
        table.caption_justify = "left"
    return table
