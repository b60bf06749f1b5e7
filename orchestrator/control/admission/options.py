"""Spec, facts and hardware that need not be here -> every way to run the job there.

Where `choose` takes the first way that fits this machine, here all are worked out side by side:
which fit, what each costs in memory, time and money, and which to take. Called by `server` for
`plan --hardware`; pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from orchestrator.control.admission.choose import micro_batch_sizes
from orchestrator.control.admission.compatibility import features_of, incompatibilities
from orchestrator.control.admission.duration import (
    RowLengths,
    plan_checkpoints,
    plan_steps,
    plan_time,
    save_rates,
    step_seconds,
    with_checkpoints,
)
from orchestrator.control.admission.inputs import PlanInputs
from orchestrator.control.admission.machine import GB, USABLE_SHARE
from orchestrator.control.admission.memory import (
    RUNTIME_BYTES,
    MemoryCase,
    host_load_bytes,
    host_worker_bytes,
    worker_memory,
)
from orchestrator.control.admission.option_records import EngineOption, FleetPlan, HardwarePlan
from orchestrator.control.admission.plan import memory_case, num_outputs, resolve_all, work_of
from orchestrator.control.admission.records import Offload, PlanReason, ZeroStage
from orchestrator.control.admission.throughput import Speed, fleet_speed
from orchestrator.control.admission.trainable import TrainedModel
from orchestrator.inspect.architectures import MIXTURES
from orchestrator.inspect.fleets import Fleet
from orchestrator.specs import EngineSpec, FineTuneSpec, ResourcesSpec

NEARLY_AS_FAST = 1.01  # of the fastest way's step: among these the one with most memory left

HOUR_SECONDS = 3600.0


@dataclass(frozen=True, slots=True)
class Way:
    """How states are sharded and where they lie; whether activations are recomputed."""

    zero_stage: ZeroStage
    offload: Offload
    checkpointing: bool


@dataclass(frozen=True, slots=True)
class _Ground:
    """A job on a fleet: what every option follows from."""

    inputs: PlanInputs
    resolved: FineTuneSpec
    model: TrainedModel
    lengths: RowLengths
    fleet: Fleet
    price: float | None  # of a GPU for an hour

    @property
    def wanted_workers(self) -> int:
        """Those the spec writes, else a worker on every GPU."""
        written = self.inputs.spec.spec.resources
        return written.workers if "workers" in written.model_fields_set else self.fleet.num_gpus

    @property
    def spec(self) -> FineTuneSpec:
        """With the fleet's resources, and an engine that is open but for its strategy: what the
        spec says of them is for hardware of its own."""
        resources = ResourcesSpec(
            workers=min(self.wanted_workers, self.fleet.num_gpus),
            cpus_per_worker=self.fleet.accelerator.around.cpus,
            gpus_per_worker=1,
            accelerator=self.fleet.accelerator.name,
        )
        engine = EngineSpec(strategy=self.resolved.engine.strategy)
        return self.resolved.model_copy(update={"resources": resources, "engine": engine})

    @property
    def speed(self) -> Speed:
        precision = self.resolved.training.precision
        used = -(-self.spec.resources.workers // self.fleet.gpus_per_node)
        return fleet_speed(self.fleet.accelerator, precision, used)

    @property
    def gpu_limit_bytes(self) -> int:
        return int(self.fleet.accelerator.memory_bytes * USABLE_SHARE)

    @property
    def node_limit_bytes(self) -> int:
        return int(self.fleet.node.memory_bytes * USABLE_SHARE)

    @property
    def workers_of_node(self) -> int:
        return min(self.spec.resources.workers, self.fleet.gpus_per_node)


def plan_fleets(
    inputs: PlanInputs,
    fleets: Sequence[Fleet],
    prices: Mapping[str, float],
    *,
    by_config: bool = False,
) -> HardwarePlan:
    """Every way to run the job on each fleet.

    Args:
        inputs: Facts about spec, data and base; their hardware is not looked at.
        fleets: Where it might run.
        prices: Name of a GPU -> its price for an hour.
        by_config: Whether the base's parameters are counted from its config alone.
    """
    assert inputs.model is not None, "a script's needs are its own: refused before"
    resolved, model, lengths = resolve_all(inputs)
    body = resolved.spec
    assert body.model is not None
    grounds = [
        _Ground(inputs, body, model, lengths, fleet, prices.get(fleet.accelerator.name))
        for fleet in fleets
    ]
    return HardwarePlan(
        name=resolved.metadata.name,
        base=body.model.base,
        model=inputs.model,
        method=body.method.type,
        precision=body.training.precision,
        total_parameters=model.total_parameters,
        trainable_parameters=model.trainable_parameters,
        global_batch_size=body.training.global_batch_size,
        steps=plan_steps(body, inputs.data.num_train_rows, 1, lengths),
        warnings=tuple(_warnings(inputs, lengths, by_config)),
        fleets=tuple(_plan_fleet(ground) for ground in grounds),
    )


def ways(strategy: str, workers: int) -> Iterator[Way]:
    """From the plainest to the most frugal; one worker has nothing to shard with."""
    plain: tuple[ZeroStage, ...] = (0,) if workers == 1 or strategy == "ddp" else (0, 1, 2, 3)
    kinds: list[tuple[ZeroStage, Offload]] = [(stage, "none") for stage in plain]
    if strategy == "deepspeed":
        kinds += [(2, "optimizer"), (3, "optimizer"), (3, "parameters")]
    for stage, offload in kinds:
        for checkpointing in (False, True):
            yield Way(stage, offload, checkpointing)


def _plan_fleet(ground: _Ground) -> FleetPlan:
    reasons = tuple(_reasons(ground))
    options = () if reasons else tuple(_options(ground))
    recommended = _recommended(options)
    resources = ground.spec.resources
    return FleetPlan(
        hardware=ground.fleet.name,
        nodes=ground.fleet.nodes,
        gpus_per_node=ground.fleet.gpus_per_node,
        accelerator=ground.fleet.accelerator.name,
        workers=resources.workers,
        cpus_per_worker=resources.cpus_per_worker,
        gpu_limit_bytes=ground.gpu_limit_bytes,
        node_limit_bytes=ground.node_limit_bytes,
        price_per_gpu_hour=ground.price,
        basis=ground.speed.basis,
        reasons=reasons,
        warnings=tuple(_fleet_warnings(ground, options, recommended)),
        options=options,
        recommended=recommended,
        why=reasons[0].message if reasons else _why(options, recommended),
    )


def _reasons(ground: _Ground) -> Iterator[PlanReason]:
    """Why the job can run there in no way at all."""
    wanted, gpus = ground.wanted_workers, ground.fleet.num_gpus
    if wanted > gpus:
        yield PlanReason(
            path="resources.workers",
            message=f"{wanted} workers are asked for, each on a GPU of its own, and "
            f"{ground.fleet.name} has {gpus}",
            change=f"write resources.workers: {gpus}, or remove it",
            of_machine=True,
        )
    batch, workers = ground.resolved.training.global_batch_size, min(wanted, gpus)
    if batch % workers:
        yield PlanReason(
            path="training.global_batch_size",
            message=f"{workers} workers do not divide a batch of {batch} rows",
            change=f"write training.global_batch_size: {-(-batch // workers) * workers}",
        )
    yield from incompatibilities(features_of(ground.spec, ground.fleet.node))


def _options(ground: _Ground) -> Iterator[EngineOption]:
    spec = ground.spec
    open_case = memory_case(spec, ground.model, ground.lengths, num_outputs(ground.inputs))
    sizes = micro_batch_sizes(spec.engine, open_case, spec.training.global_batch_size)
    for way in ways(spec.engine.strategy, spec.resources.workers):
        if any(incompatibilities(features_of(_with_way(spec, way), ground.fleet.node))):
            continue  # the method, say, cannot be sharded so
        case = replace(
            open_case,
            zero_stage=way.zero_stage,
            offload=way.offload,
            checkpointing=way.checkpointing,
        )
        sized = [replace(case, micro_batch_size=size) for size in sizes]
        yield _option(ground, next((case for case in sized if _fits(ground, case)), sized[-1]))


def _with_way(spec: FineTuneSpec, way: Way) -> FineTuneSpec:
    engine = {"zero_stage": way.zero_stage, "offload": way.offload}
    return spec.model_copy(update={"engine": spec.engine.model_copy(update=engine)})


def _fits(ground: _Ground, case: MemoryCase) -> bool:
    gpu, node = worker_memory(case).total_bytes, _node_bytes(ground, case)
    return gpu <= ground.gpu_limit_bytes and node <= ground.node_limit_bytes


def _node_bytes(ground: _Ground, case: MemoryCase) -> int:
    """Host memory of a machine at its peak. How stage 3 loads is told by a warning instead."""
    held = host_worker_bytes(case, worker_memory(case))
    if case.zero_stage < 3:
        held = max(held, host_load_bytes(case))
    return ground.workers_of_node * held + RUNTIME_BYTES


def _option(ground: _Ground, case: MemoryCase) -> EngineOption:
    memory, node = worker_memory(case), _node_bytes(ground, case)
    data, spec, lengths = ground.inputs.data, ground.spec, ground.lengths
    steps = plan_steps(spec, data.num_train_rows, case.micro_batch_size, lengths)
    step = step_seconds(case, steps, ground.speed)
    time = plan_time(spec, case, steps, ground.speed, work_of(ground.inputs, spec, lengths))
    rates = save_rates(ground.speed, local=False)
    saved = plan_checkpoints(spec, case, steps, time.train_seconds, rates)
    total = with_checkpoints(time, saved).total_seconds
    assert case.zero_stage in (0, 1, 2, 3)
    return EngineOption(
        strategy=case.strategy,
        zero_stage=case.zero_stage,
        offload=case.offload,
        gradient_checkpointing=case.checkpointing,
        micro_batch_size=case.micro_batch_size,
        accumulation=steps.accumulation,
        memory=memory,
        gpu_bytes=memory.total_bytes,
        node_bytes=node,
        short_gpu_bytes=max(0, memory.total_bytes - ground.gpu_limit_bytes),
        short_node_bytes=max(0, node - ground.node_limit_bytes),
        step=step,
        step_seconds=round(step.total_seconds, 4),
        total_seconds=total,
        tokens_per_second=round(steps.tokens_per_step / step.total_seconds, 1),
        cost=_cost(ground, total),
    )


def _cost(ground: _Ground, seconds: float) -> float | None:
    """Of every GPU of the fleet, used or not: that is what is paid for."""
    if ground.price is None:
        return None
    return round(ground.price * ground.fleet.num_gpus * seconds / HOUR_SECONDS, 4)


def _recommended(options: Sequence[EngineOption]) -> int | None:
    """The fastest that fits; of those nearly as fast the one that needs the least of a GPU."""
    fitting = [index for index, option in enumerate(options) if option.fits]
    if not fitting:
        return None
    limit = NEARLY_AS_FAST * min(options[index].step_seconds for index in fitting)
    near = [index for index in fitting if options[index].step_seconds <= limit]
    return min(near, key=lambda index: (options[index].gpu_bytes, index))


def _why(options: Sequence[EngineOption], recommended: int | None) -> str:
    if recommended is None:
        nearest = min(options, key=lambda option: option.short_gpu_bytes + option.short_node_bytes)
        if nearest.short_gpu_bytes:
            return (
                f"no way fits: the most frugal still needs {nearest.short_gpu_bytes / GB:.1f} GB "
                "more of each GPU"
            )
        return (
            f"no way fits: the most frugal still needs {nearest.short_node_bytes / GB:.1f} GB more "
            "host memory on each machine"
        )
    chosen = options[recommended]
    fitting = [option for option in options if option.fits]
    if chosen.offload != "none" and all(option.offload != "none" for option in fitting):
        return "the fastest that fits: without host memory nothing does"
    if len(fitting) == 1:
        return "the only one that fits"
    return f"the fastest of the {len(fitting)} that fit"


def _fleet_warnings(
    ground: _Ground, options: Sequence[EngineOption], recommended: int | None
) -> Iterator[str]:
    used, there = ground.spec.resources.workers, ground.fleet.num_gpus
    if used < there:
        yield (
            f"{there - used} of the {there} GPUs of {ground.fleet.name} are idle, since the spec "
            f"writes resources.workers: {used}"
        )
    peaks = ground.fleet.accelerator.teraflops
    if ground.resolved.training.precision == "fp32" and "bf16" in peaks:
        faster = peaks["bf16"] / peaks["fp32"]
        yield (
            f"fp32 leaves the tensor cores idle: bf16 would compute up to {faster:.0f} times as "
            "fast"
        )
    if recommended is None or options[recommended].zero_stage < 3:
        return
    case = memory_case(ground.spec, ground.model, ground.lengths, num_outputs(ground.inputs))
    loading = ground.workers_of_node * host_load_bytes(case) + RUNTIME_BYTES
    if loading > ground.node_limit_bytes:
        yield (
            f"{ground.workers_of_node} workers that each read the whole base into host memory need "
            f"{loading / GB:,.0f} GB of it on a machine of {ground.fleet.name}, which has "
            f"{ground.fleet.node.memory_bytes / GB:,.0f}: they must load it in parts"
        )


def _warnings(inputs: PlanInputs, lengths: RowLengths, by_config: bool) -> Iterator[str]:
    assert inputs.model is not None
    if by_config:
        yield "the base's parameters are counted from its config: its weights are not here"
    if not lengths.measured:
        yield (
            "tokens are not counted, for lack of a tokenizer.json: every row is taken for "
            "training.max_length tokens long"
        )
    if inputs.model.model_type in MIXTURES:
        yield "every expert is counted as if each token went through it: times are upper bounds"
