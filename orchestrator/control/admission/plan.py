"""Spec and facts -> Plan: what the job would need, how long it would take, and whether it can run.

Called by `server`, which gathers the facts; nothing is looked up here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

from orchestrator.control.admission.adapters import adapter_choices
from orchestrator.control.admission.cautions import (
    data_cautions,
    engine_cautions,
    memory_cautions,
    watched_domains,
)
from orchestrator.control.admission.choose import choose_engine
from orchestrator.control.admission.compatibility import features_of, incompatibilities
from orchestrator.control.admission.duration import (
    RowLengths,
    Work,
    plan_checkpoints,
    plan_steps,
    plan_time,
    row_lengths,
    save_rates,
    total_rows,
    with_checkpoints,
)
from orchestrator.control.admission.fewest import (
    case_at,
    fewest_reasons,
    fits_at_both_ends,
    fitting_caution,
    mended_by_fewer,
    smallest_case,
)
from orchestrator.control.admission.gang_memory import gang_memory
from orchestrator.control.admission.inputs import PlanInputs, identity_of
from orchestrator.control.admission.machine import (
    Machine,
    cpu_reasons,
    disk_reasons,
    gpu_reasons,
    host_bytes_of_worker,
    memory_reasons,
)
from orchestrator.control.admission.memory import (
    MemoryCase,
    buffer_sizes,
    worker_memory,
)
from orchestrator.control.admission.records import (
    CheckpointPlan,
    Choice,
    DiskPlan,
    DrawPlan,
    FewestPlan,
    Plan,
    PlanReason,
    SplitPlan,
    StepPlan,
    TimePlan,
)
from orchestrator.control.admission.resolve import resolve_spec, with_engine, with_method
from orchestrator.control.admission.scripts import plan_script
from orchestrator.control.admission.snapshots import copy_reasons, held_bytes, with_writing
from orchestrator.control.admission.throughput import worker_speed
from orchestrator.control.admission.trainable import (
    TrainedModel,
    several_tasks_model,
    trained_model,
)
from orchestrator.inspect.model import ModelFacts, model_warnings
from orchestrator.specs import CustomTask, FineTune, FineTuneSpec, TaskSpec, TextClassification
from orchestrator.specs.gate_checks import forgetting_domains, gate_domains
from orchestrator.specs.location_checks import scheme_of
from orchestrator.specs.sizes import with_workers
from orchestrator.specs.task_checks import target_length
from orchestrator.specs.task_views import named_tasks

__all__ = ["Plan", "PlanInputs", "PlanReason", "make_plan"]

EXTRA_FILES_BYTES = 5_000_000  # tokenizer, model card, metrics


def make_plan(inputs: PlanInputs) -> Plan:
    """The plan of a valid spec on this machine; a refusal is a verdict, not an error."""
    if isinstance(inputs.spec.spec.task, CustomTask):
        return plan_script(inputs)
    assert inputs.model is not None, "every task but a custom one has a base"
    # 1. What the spec leaves open, but for the engine.
    resolved, model, lengths = resolve_all(inputs)
    # 2. The engine: the fastest way that fits.
    machine = Machine(inputs.hardware, resolved.spec.resources)
    case, choices = choose_engine(
        resolved.spec.engine,
        memory_case(resolved.spec, model, lengths, num_outputs(inputs)),
        resolved.spec.training.global_batch_size,
        fits_at_both_ends(machine, resolved.spec),
    )
    resolved = with_writing(with_engine(resolved, case), machine, case)
    # 3. What it costs.
    estimate = _estimate(inputs, resolved.spec, case, lengths)
    # 4. The verdict.
    held = held_bytes(resolved, case, estimate.checkpoint.count)
    reasons, begins_with = _verdict(inputs, resolved, case, estimate, held)
    return Plan(
        verdict="refused" if reasons else "fits",
        reasons=reasons,
        warnings=(
            *_warnings(inputs, inputs.model, resolved, machine, case),
            *fitting_caution(resolved.spec, begins_with),
        ),
        choices=(
            *_data_choices(inputs.spec.spec, resolved.spec),
            *adapter_choices(inputs.spec.spec.method, resolved.spec.method, inputs.model),
            *choices,
        ),
        spec=resolved,
        identity=identity_of(inputs, resolved),
        model=inputs.model,
        hardware=inputs.hardware,
        splits=tuple(_splits(inputs)),
        draws=tuple(_draws(inputs)),
        trainable_parameters=model.trainable_parameters,
        total_parameters=model.total_parameters,
        memory=gang_memory(machine, case, held),
        steps=estimate.steps,
        time=estimate.time,
        checkpoint=estimate.checkpoint,
        disk=estimate.disk,
        fewest=_fewest(inputs, resolved, case, lengths),
    )


def resolve_all(inputs: PlanInputs) -> tuple[FineTune, TrainedModel, RowLengths]:
    """The spec with nothing open but its engine, what learns, and how long rows are."""
    assert inputs.model is not None, "every task but a custom one has a base"
    resolved = with_method(resolve_spec(inputs.spec, inputs.surroundings), inputs.model)
    body = resolved.spec
    if body.tasks:
        heads = [len(facts.labels) for facts in inputs.data.tasks.values() if facts.labels]
        model = several_tasks_model(inputs.model, heads)
    else:
        model = trained_model(inputs.model, body.task, body.method, num_outputs(inputs))
    longest = body.training.max_length + (target_length(body) or 0)
    lengths = row_lengths(inputs.data, inputs.tokens, longest, body.training.batching)
    return resolved, model, lengths.learned_by(body.task)


def num_outputs(inputs: PlanInputs) -> int:
    """Of a classification head: one a label, or the one number of a regression."""
    return max(len(inputs.data.labels), 1)


@dataclass(frozen=True, slots=True)
class _Estimate:
    steps: StepPlan
    time: TimePlan
    checkpoint: CheckpointPlan
    disk: DiskPlan


def memory_case(
    spec: FineTuneSpec, model: TrainedModel, lengths: RowLengths, num_labels: int
) -> MemoryCase:
    """What a resolved spec's memory follows from; open fields of its engine as if they were off."""
    engine = spec.engine
    return MemoryCase(
        model=model,
        strategy=engine.strategy,
        zero_stage=engine.zero_stage or 0,
        precision=spec.training.precision,
        offload=engine.offload or "none",
        workers=spec.resources.workers,
        on_gpu=spec.resources.gpus_per_worker > 0,
        micro_batch_size=engine.micro_batch_size or 1,
        length=lengths.longest,
        num_labels=num_labels,
        checkpointing=bool(engine.gradient_checkpointing),
        evaluation_rows=spec.evaluation.batch_size or 1,
        **buffer_sizes(engine.deepspeed),
    )


def _estimate(
    inputs: PlanInputs, spec: FineTuneSpec, case: MemoryCase, lengths: RowLengths
) -> _Estimate:
    steps = plan_steps(spec, inputs.data.num_train_rows, case.micro_batch_size, lengths)
    resources = spec.resources
    speed = worker_speed(
        inputs.hardware, spec.training.precision, resources.cpus_per_worker, case.on_gpu
    )
    time = plan_time(spec, case, steps, speed, work_of(inputs, spec, lengths))
    local = _store_is_local(spec)
    checkpoint = plan_checkpoints(
        spec,
        case,
        steps,
        time.train_seconds,
        save_rates(speed, local=local, copied=bool(spec.checkpoint.asynchronous)),
    )
    return _Estimate(
        steps=steps,
        time=with_checkpoints(time, checkpoint),
        checkpoint=checkpoint,
        disk=_disk(spec, case, checkpoint, inputs.hardware.disk_free_bytes),
    )


def _fewest(
    inputs: PlanInputs, resolved: FineTune, case: MemoryCase, lengths: RowLengths
) -> FewestPlan | None:
    smallest = smallest_case(case, resolved.spec)
    if smallest is None:
        return None
    spec = with_workers(resolved, smallest.workers).spec
    return FewestPlan(
        workers=smallest.workers,
        micro_batch_size=smallest.micro_batch_size,
        worker_bytes=worker_memory(smallest).total_bytes,
        host_worker_bytes=host_bytes_of_worker(smallest) + held_bytes(resolved, smallest, 2),
        total_seconds=_estimate(inputs, spec, smallest, lengths).time.total_seconds,
    )


def _generated(inputs: PlanInputs, spec: FineTuneSpec) -> dict[str, int]:
    """What the model is to write at the end; nothing for tasks that write no texts."""
    target = target_length(spec)
    if target is None:
        return {}
    settings = spec.evaluation.generation
    assert settings is not None, "a resolved spec says how texts are written"
    rows = sum(
        min(facts.num_rows, settings.max_samples)
        for (_, split), facts in inputs.data.splits.items()
        if split == "test"
    )
    return {"generated_rows": rows, "generated_tokens": settings.max_new_tokens or target}


def work_of(inputs: PlanInputs, spec: FineTuneSpec, lengths: RowLengths) -> Work:
    """What is evaluated."""
    return Work(
        test_rows=total_rows(inputs.data, "test"),
        valid_rows=total_rows(inputs.data, "valid", watched_domains(spec)),
        lengths=lengths,
        judged_rows=total_rows(inputs.data, "valid", gate_domains(spec)),
        start_rows=total_rows(inputs.data, "valid", forgetting_domains(spec)),
        **_generated(inputs, spec),
    )


def _store_is_local(spec: FineTuneSpec) -> bool:
    assert spec.output.store is not None, "a resolved spec names it"
    return scheme_of(spec.output.store) in (None, "file")


def _disk(
    spec: FineTuneSpec, case: MemoryCase, checkpoint: CheckpointPlan, free_bytes: int
) -> DiskPlan:
    """One more checkpoint than are kept is there for a moment; one is staged on its way."""
    model = case.weight_bytes * case.model.published_parameters + EXTRA_FILES_BYTES
    weights = case.model.saved_parameters
    if case.model.copies > 1:  # of several tasks they are kept as they are published
        weights = case.model.published_parameters
    best = 0 if spec.selection.last else case.weight_bytes * weights
    kept = (spec.checkpoint.keep + 1) * checkpoint.size_bytes + best
    scratch = checkpoint.size_bytes + best + model
    local = _store_is_local(spec)
    return DiskPlan(
        scratch_bytes=scratch,
        model_bytes=model,
        checkpoints_bytes=kept,
        store_is_local=local,
        needed_bytes=scratch + (model + kept if local else 0),
        free_bytes=free_bytes,
    )


def _reasons(
    machine: Machine, case: MemoryCase, spec: FineTuneSpec, estimate: _Estimate
) -> Iterator[PlanReason]:
    batch, rows = spec.training.global_batch_size, case.micro_batch_size * case.workers
    if batch % rows:
        yield PlanReason(
            path="training.global_batch_size",
            message=f"{case.workers} workers of {case.micro_batch_size} rows do not divide {batch}",
            change=f"write training.global_batch_size: {max(rows, batch // rows * rows)}",
        )
    yield from gpu_reasons(machine, spec)
    yield from cpu_reasons(machine, spec)
    kind = case.model.facts.model_type
    yield from incompatibilities(features_of(spec, machine.hardware, kind))
    yield from memory_reasons(machine, case, spec)
    yield from fewest_reasons(machine, case, spec)
    yield from disk_reasons(estimate.disk, estimate.checkpoint.size_bytes, spec.checkpoint.keep)


def _verdict(
    inputs: PlanInputs, resolved: FineTune, case: MemoryCase, estimate: _Estimate, held: int
) -> tuple[tuple[PlanReason, ...], int | None]:
    """Why it is refused; or with how many workers it begins where not all fit."""
    machine = Machine(inputs.hardware, resolved.spec.resources)
    reasons = (
        *_reasons(machine, case, resolved.spec, estimate),
        *copy_reasons(machine, case, held),
    )
    fewer = partial(_reasons_with, inputs, resolved, case, estimate)
    begins_with = mended_by_fewer(reasons, resolved.spec, fewer)
    return (() if begins_with is not None else reasons), begins_with


def _reasons_with(
    inputs: PlanInputs, resolved: FineTune, case: MemoryCase, estimate: _Estimate, workers: int
) -> Iterator[PlanReason]:
    spec = with_workers(resolved, workers).spec
    machine = Machine(inputs.hardware, spec.resources)
    yield from _reasons(machine, case_at(case, spec, workers), spec, estimate)


def _warnings(
    inputs: PlanInputs, model: ModelFacts, resolved: FineTune, machine: Machine, case: MemoryCase
) -> Iterator[str]:
    yield from inputs.data.warnings
    yield from data_cautions(inputs.data, inputs.tokens, resolved.spec)
    yield from model_warnings(model, resolved.spec)
    yield from engine_cautions(inputs.spec.spec, inputs.hardware)
    yield from memory_cautions(machine, case)


def _splits(inputs: PlanInputs) -> Iterator[SplitPlan]:
    for key, facts in inputs.data.splits.items():
        tokens = (inputs.tokens or {}).get(key)
        yield SplitPlan(
            domain=facts.domain,
            split=facts.split,
            num_rows=facts.num_rows,
            class_counts=dict(facts.class_counts),
            label_mean=None if facts.numbers is None else facts.numbers.mean,
            label_std=None if facts.numbers is None else facts.numbers.std,
            held_out=facts.derived,
            truncated_share=None if tokens is None else round(tokens.truncated_share, 4),
        )


def _draws(inputs: PlanInputs) -> Iterator[DrawPlan]:
    everything = max(inputs.data.num_train_rows, 1)
    for draw in inputs.data.draws:
        yield DrawPlan(
            domain=draw.domain,
            rows=draw.rows,
            drawn=draw.drawn,
            share=round(draw.drawn / everything, 4),
            replayed=draw.replayed,
        )


def _data_choices(written: FineTuneSpec, resolved: FineTuneSpec) -> Iterator[Choice]:
    """What was chosen of what is learned: worth seeing, since it changes the result."""
    tasks = zip(named_tasks(written), named_tasks(resolved), strict=True)
    for (path, asked), (_, found) in tasks:
        yield from _class_choices(path, asked, found)
    if written.data.train_on is None:
        domains = ", ".join(resolved.data.train_on or ())
        yield Choice(path="data.train_on", value=domains, why="every domain with a train split")
    if written.training.epochs is None and written.training.max_steps is None:
        yield Choice(
            path="training.epochs", value=f"{resolved.training.epochs:g}", why="the default"
        )
    if written.selection.metric is None and resolved.selection.metric is not None:
        why = "the task's main metric on valid"
        yield Choice(path="selection.metric", value=resolved.selection.metric, why=why)


def _class_choices(path: str, written: TaskSpec, resolved: TaskSpec) -> Iterator[Choice]:
    if not isinstance(written, TextClassification):
        return
    assert isinstance(resolved, TextClassification)
    if written.labels is None and resolved.labels:
        labels = ", ".join(resolved.labels)
        yield Choice(path=f"{path}.labels", value=labels, why="those of the training data, sorted")
    asked, found = written.class_weights, resolved.class_weights
    if asked is not None and asked.balanced and found is not None:
        shown = ", ".join(f"{label} {weight:g}" for label, weight in (found.weights or {}).items())
        why = "by how often an epoch draws each"
        yield Choice(path=f"{path}.class_weights", value=shown, why=why)
