"""A HardwarePlan as a person reads it: fleets side by side, the ways to run there, which to take.

Called by `plan --hardware`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.console import RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from orchestrator.interfaces.cli import figures
from orchestrator.interfaces.cli.tables import labelled, plain_table

if TYPE_CHECKING:
    from orchestrator.control.admission.option_records import (
        EngineOption,
        FleetPlan,
        HardwarePlan,
    )

WIDE = 118  # columns from which a GPU's memory is told by what it is for

_PARTS = ("weights", "gradients", "optimizer", "activations")
_OFFLOADS = {"none": "–", "optimizer": "optim", "parameters": "all"}
_NO_PRICE = "no price set"


def hardware_views(plan: HardwarePlan, width: int) -> Iterator[RenderableType]:
    """Everything about the fleets in the order it is printed; what to write comes last."""
    yield labelled(_subject(plan))
    if len(plan.fleets) > 1:
        yield Text()
        yield _side_by_side(plan)
    for fleet in plan.fleets:
        yield Text()
        yield from _fleet_views(fleet, width)
    for warning in plan.warnings:
        yield Text()
        yield Text.assemble(("warning: ", "yellow"), warning)
    if any(fleet.price_per_gpu_hour is None for fleet in plan.fleets):
        yield Text()
        yield Text(
            "No price is set for some of these GPUs: the setting `prices` has them, in "
            "orchestrator.toml as [prices] and a line like H100 = 2.5 (for an hour).",
            style="dim",
        )


def _subject(plan: HardwarePlan) -> Iterator[tuple[str, str]]:
    trained, total = plan.trainable_parameters, plan.total_parameters
    share = "all" if trained == total else figures.count(trained)
    steps = plan.steps
    yield "Job", plan.name
    yield "Base", plan.base
    yield (
        "Trains",
        f"{share} of {figures.count(total)} parameters ({plan.method}), {plan.precision}",
    )
    how = "counted" if steps.tokens_measured else "assumed"
    yield (
        "Steps",
        f"{steps.total:,} of {plan.global_batch_size:,} rows, {figures.count(steps.tokens)} tokens "
        f"({steps.tokens_per_row:.0f} a row, {how})",
    )


def _side_by_side(plan: HardwarePlan) -> Table:
    table = plain_table("hardware", "best way", ">each GPU", ">a step", ">in all", ">cost")
    for fleet in plan.fleets:
        choice = fleet.choice
        if choice is None:
            table.add_row(fleet.hardware, Text("does not fit", style="red"))
            continue
        table.add_row(
            fleet.hardware,
            _way(choice),
            figures.size(choice.gpu_bytes),
            _step_time(choice),
            figures.duration(choice.total_seconds),
            _cost(choice),
        )
    return table


def _fleet_views(fleet: FleetPlan, width: int) -> Iterator[RenderableType]:
    usable = (
        f"{figures.size(fleet.gpu_limit_bytes)} of each GPU and "
        f"{figures.size(fleet.node_limit_bytes)} of each machine may be used"
    )
    yield Text.assemble((fleet.hardware, "bold"), (f": {usable}; {fleet.basis}", "dim"))
    if fleet.options:
        yield Text()
        yield _options_table(fleet, wide=width >= WIDE)
    yield Text()
    yield from _verdict(fleet)
    for warning in fleet.warnings:
        yield Text.assemble(("warning: ", "yellow"), warning)


def _options_table(fleet: FleetPlan, *, wide: bool) -> Table:
    parts = (">weights", ">grads", ">optim", ">activ") if wide else ()
    table = plain_table(
        *("ZeRO", "offload", "recomp", ">rows", *parts, ">GPU", ">host"),
        *(">a step", ">in all", ">cost"),
    )
    table.padding = (0, 1, 0, 0)
    if not all(option.fits for option in fleet.options):
        table.caption = "GPU or host and a minus: it does not fit, that much is missing there"
        table.caption_justify = "left"
    for number, option in enumerate(fleet.options):
        style = "bold" if number == fleet.recommended else "" if option.fits else "dim"
        cells = [
            "DDP" if option.strategy == "ddp" else str(option.zero_stage),
            _OFFLOADS[option.offload],
            "yes" if option.gradient_checkpointing else "–",
            _rows(option),
            *(figures.size(getattr(option.memory, f"{part}_bytes")) for part in _PARTS if wide),
            figures.size(option.gpu_bytes),
            figures.size(option.node_bytes),
            *(_outcome(option) if option.fits else _shortage(option)),
        ]
        table.add_row(*(Text(cell, style=style) for cell in cells))
    return table


def _rows(option: EngineOption) -> str:
    """Of a worker at once; and how many times a step."""
    times = f"×{option.accumulation}" if option.accumulation > 1 else ""
    return f"{option.micro_batch_size}{times}"


def _outcome(option: EngineOption) -> tuple[str, str, str]:
    return (
        _step_time(option),
        figures.duration(option.total_seconds),
        _cost(option),
    )


def _shortage(option: EngineOption) -> tuple[str, str, str]:
    """In place of times: what is missing, of the GPU before the machine."""
    where = "GPU" if option.short_gpu_bytes else "host"
    short = figures.size(option.short_gpu_bytes or option.short_node_bytes)
    return where, f"−{short}", figures.NOTHING


def _step_time(option: EngineOption) -> str:
    seconds = option.step_seconds
    return f"{1000 * seconds:.0f} ms" if seconds < 0.995 else figures.duration(seconds)


def _cost(option: EngineOption) -> str:
    return figures.NOTHING if option.cost is None else f"{option.cost:,.2f}"


def _way(option: EngineOption) -> str:
    stage = "DDP" if option.strategy == "ddp" else f"ZeRO-{option.zero_stage}"
    offload = "" if option.offload == "none" else f", {option.offload} offloaded"
    recompute = ", recomputed" if option.gradient_checkpointing else ""
    return f"{stage}, {_rows(option)} rows{offload}{recompute}"


def _verdict(fleet: FleetPlan) -> Iterator[RenderableType]:
    choice = fleet.choice
    if choice is None:
        yield Text.assemble(("does not fit", "bold red"), f": {fleet.why}")
        for reason in fleet.reasons:
            yield Text.assemble("  → ", (reason.change, "bold"))
        return
    cost = _NO_PRICE if choice.cost is None else f"cost {choice.cost:,.2f}"
    yield Text.assemble(
        ("take ", "bold green"),
        (_way(choice), "bold"),
        f": {fleet.why}; {figures.duration(choice.total_seconds)}, {cost}, "
        f"{choice.tokens_per_second:,.0f} tokens/s",
    )
    yield Padding(Text(f"a step: {_step(choice)}", style="dim"), (0, 0, 0, 2), expand=False)
    yield Text(_to_write(fleet, choice), style="cyan")


def _step(option: EngineOption) -> str:
    named = ("compute", "communication", "update", "offload", "other")
    parts = ((name, getattr(option.step, f"{name}_seconds")) for name in named)
    return ", ".join(f"{name} {1000 * seconds:,.0f} ms" for name, seconds in parts if seconds)


def _to_write(fleet: FleetPlan, option: EngineOption) -> str:
    """The fields of the spec that say all this; YAML, in lines that fit a terminal."""
    recompute = str(option.gradient_checkpointing).lower()
    if option.strategy == "ddp":
        ways = "strategy: ddp"
    else:
        ways = f"zero_stage: {option.zero_stage}, offload: {option.offload}"
    return (
        f"  engine: {{{ways}, micro_batch_size: {option.micro_batch_size},\n"
        f"    gradient_checkpointing: {recompute}}}\n"
        f"  resources: {{workers: {fleet.workers}, cpus_per_worker: {fleet.cpus_per_worker},\n"
        f"    gpus_per_worker: 1, accelerator: {fleet.accelerator}}}"
    )
