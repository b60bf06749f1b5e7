"""Steps, tokens, time and disk of a job.

A forward pass costs 2 FLOPs a parameter and token, a backward pass twice that (Kaplan et al. 2020,
arXiv:2001.08361, section 2.1), and attention 4 x length x hidden a layer and token on top; looking
embeddings up costs nothing. Below the lowest layer that learns nothing goes back.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from orchestrator.control.admission.exchange import (
    communication_seconds,
    offload_seconds,
    update_seconds,
)
from orchestrator.control.admission.memory import FP32, MOMENTS, MemoryCase
from orchestrator.control.admission.records import (
    CheckpointPlan,
    StepPlan,
    StepSeconds,
    TimePlan,
)
from orchestrator.control.admission.throughput import Speed
from orchestrator.inspect.data import DataFacts, SplitKey
from orchestrator.inspect.tokens import TokenFacts
from orchestrator.specs import Denoising, FineTuneSpec, TaskSpec
from orchestrator.specs.batching import BatchingSpec

START_SECONDS = 50.0  # measured: Ray comes up, the gang forms and imports, base and data are read
STEP_SECONDS = 0.02  # of Python, logging and the gang's agreement in every step
PUBLISH_SECONDS = 3.0
EVERY_MINUTES = 20.0  # between checkpoints, where the spec says nothing

GENERATED_AT_ONCE = 16  # rows that are written for together
GENERATION_STEP_SECONDS = 0.01  # of Python for each token of a batch
_BACKWARD = 2  # forward passes that one way back costs


@dataclass(frozen=True, slots=True)
class RowLengths:
    """Tokens of rows: as they are computed (with padding), and whether they were counted."""

    by_split: Mapping[str, float]  # train, valid, test
    longest: int
    measured: bool
    pieces: float = 1.0  # rows that a text to learn from becomes

    def learned_by(self, task: TaskSpec) -> RowLengths:
        """Of a resolved task: who denoises also writes what was hidden, or all of the text."""
        if not isinstance(task, Denoising):
            return self
        share = 1.0 if task.objective == "infill" else task.masked_share or 0.0
        costs = {split: tokens * (1 + share) for split, tokens in self.by_split.items()}
        return replace(self, by_split=costs, longest=math.ceil(self.longest * (1 + share)))


def row_lengths(
    data: DataFacts,
    tokens: Mapping[SplitKey, TokenFacts] | None,
    max_length: int,
    batching: BatchingSpec | None = None,
) -> RowLengths:
    """Lengths by split; without counts every row is as long as `max_length` lets it be.

    A training batch is padded to its longest row: what a row costs is near the 95th percentile.
    Rows that are evaluated are sorted by length, so that padding costs next to nothing; those that
    are learned may be sorted or packed too.
    """
    if not tokens or any(key not in tokens for key in data.splits):
        full = dict.fromkeys(("train", "valid", "test"), float(max_length))
        return RowLengths(full, max_length, measured=False)
    padded = batching is None or not (batching.packing or batching.group_by_length)
    costs: dict[str, float] = {}
    for split in ("train", "valid", "test"):
        facts = [(data.splits[key].num_rows, tokens[key]) for key in data.splits if key[1] == split]
        rows = sum(count for count, _ in facts)
        fills = padded and split == "train"
        total = sum(count * _row_cost(found, max_length, split, fills) for count, found in facts)
        costs[split] = total / rows if rows else float(max_length)
    whole = all(tokens[key].num_sampled == facts.num_rows for key, facts in data.splits.items())
    longest = max(tokens[key].max for key in data.splits) if whole else max_length
    return RowLengths(costs, min(longest, max_length), True, _pieces(data, tokens))


def _pieces(data: DataFacts, tokens: Mapping[SplitKey, TokenFacts]) -> float:
    """Over all training rows."""
    found = [
        (data.splits[key].num_rows, tokens[key].pieces) for key in data.splits if key[1] == "train"
    ]
    rows = sum(count for count, _ in found)
    return sum(count * pieces for count, pieces in found) / rows if rows else 1.0


def _row_cost(found: TokenFacts, max_length: int, split: str, padded: bool) -> float:
    """Of a row that is learned, or of a text that is evaluated with all of its rows."""
    if padded:
        return min(found.p95, max_length)
    return found.mean_kept / found.pieces if split == "train" else found.mean_kept


def steps_per_epoch(num_rows: int, global_batch_size: int) -> int:
    """Optimizer steps of one pass; the last batch may be short."""
    return math.ceil(num_rows / global_batch_size)


def plan_steps(
    spec: FineTuneSpec, num_rows: int, micro_batch_size: int, tokens: RowLengths
) -> StepPlan:
    """Steps of a resolved spec; counts as the worker does."""
    training, workers = spec.training, spec.resources.workers
    num_rows = round(num_rows * tokens.pieces)
    per_epoch = steps_per_epoch(num_rows, training.global_batch_size)
    if training.max_steps is not None:
        total = training.max_steps
    else:
        assert training.epochs is not None, "a resolved spec says how long it trains"
        total = math.ceil(training.epochs * per_epoch)
    warmup = training.warmup_steps
    if warmup is None:
        warmup = math.ceil((training.warmup_ratio or 0.0) * total)
    row = tokens.by_split["train"]
    rows_trained = min(total * training.global_batch_size, math.ceil(total / per_epoch * num_rows))
    return StepPlan(
        train_rows=num_rows,
        per_epoch=per_epoch,
        total=total,
        warmup=warmup,
        epochs=round(total / per_epoch, 4),
        accumulation=max(1, training.global_batch_size // (micro_batch_size * workers)),
        tokens_per_row=round(row, 2),
        tokens_per_step=round(row * min(num_rows, training.global_batch_size)),
        tokens=round(row * rows_trained),
        tokens_measured=tokens.measured,
        evaluations=_evaluations(spec, total, per_epoch),
    )


def _evaluations(spec: FineTuneSpec, total: int, per_epoch: int) -> int:
    if spec.selection.last and spec.training.early_stopping is None:
        return 0
    return math.ceil(total / (spec.selection.every_steps or per_epoch))


def forward_flops(case: MemoryCase, length: float) -> float:
    """FLOPs of one token's forward pass."""
    facts = case.model.facts
    attention = 4.0 * length * facts.hidden_size * facts.num_layers
    return 2.0 * case.model.multiplied_parameters + attention


def training_flops(case: MemoryCase, length: float) -> float:
    """FLOPs of one token's forward and backward pass."""
    share = case.model.trainable_layers / case.model.facts.num_layers
    # Beside an adapter the frozen weights have no gradients: half of the way back is left out.
    backward = _BACKWARD if case.model.adapter is None else 1
    passes = 1 + backward * share + (share if case.checkpointing else 0)
    return forward_flops(case, length) * passes


def step_seconds(case: MemoryCase, steps: StepPlan, speed: Speed) -> StepSeconds:
    """One optimizer step by what it is spent on."""
    row = steps.tokens_per_row
    rows = case.micro_batch_size * steps.accumulation
    return StepSeconds(
        compute_seconds=rows * row * training_flops(case, row) / speed.flops,
        communication_seconds=communication_seconds(case, steps.accumulation, speed),
        update_seconds=update_seconds(case, speed),
        offload_seconds=offload_seconds(case, steps.accumulation, speed),
        other_seconds=STEP_SECONDS,
    )


def checkpoint_bytes(case: MemoryCase) -> int:
    """Weights and optimizer state of all workers together."""
    low = case.weight_bytes < FP32
    sharded = case.strategy == "deepspeed" and case.zero_stage > 0
    keeps_master = low or (sharded and case.zero_stage < 3)
    state = (MOMENTS + (FP32 if keeps_master else 0)) * case.model.trainable_parameters
    return case.weight_bytes * case.model.saved_parameters + state


COPY_BYTES = 3e9  # a second, of one worker's memory or from its GPU to pinned memory


@dataclass(frozen=True, slots=True)
class SaveRates:
    """Bytes a second of the whole gang: to what it waits for, and on to the store."""

    stall_bytes: float
    upload_bytes: float


def save_rates(speed: Speed, *, local: bool, copied: bool = False) -> SaveRates:
    """Into a store that is a folder (`local`), or one beyond the network.

    `copied`: training waits for a copy in memory alone.
    """
    stall = COPY_BYTES if copied else speed.disk_bytes
    return SaveRates(stall, speed.disk_bytes if local else speed.store_bytes)


def plan_checkpoints(
    spec: FineTuneSpec, case: MemoryCase, steps: StepPlan, train_seconds: float, rates: SaveRates
) -> CheckpointPlan:
    """Size and cost of the checkpoints of a resolved spec; the last step always saves one."""
    size = checkpoint_bytes(case)
    cadence = spec.checkpoint
    if cadence.every_steps is not None:
        count = math.ceil(steps.total / cadence.every_steps)
    else:
        count = int(train_seconds // (60 * (cadence.every_minutes or EVERY_MINUTES))) + 1
    return CheckpointPlan(
        size_bytes=size,
        count=count,
        stall_seconds=round(size / rates.stall_bytes, 2),
        upload_seconds=round(size / rates.upload_bytes, 2),
    )


@dataclass(frozen=True, slots=True)
class Work:
    """Rows that are evaluated, and how long they are."""

    test_rows: int
    valid_rows: int
    lengths: RowLengths
    judged_rows: int = 0  # of valid, by gates: with what is published
    start_rows: int = 0  # and with the start, where forgetting is to be told
    generated_rows: int = 0  # that the model writes a text for
    generated_tokens: int = 0  # of such a text, at most


def plan_time(
    spec: FineTuneSpec, case: MemoryCase, steps: StepPlan, speed: Speed, work: Work
) -> TimePlan:
    """Seconds of each phase, without those of checkpoints: see `with_checkpoints`."""
    step = step_seconds(case, steps, speed).total_seconds
    test = _forward_seconds(case, work.test_rows, work.lengths.by_split["test"], speed)
    valid = _forward_seconds(case, work.valid_rows, work.lengths.by_split["valid"], speed)
    generation = spec.evaluation.generation
    if generation is not None:
        test += _generation_seconds(case, work, generation.num_beams, speed)
    before = test if spec.evaluation.before else 0.0
    of_valid = work.lengths.by_split["valid"]
    test += _forward_seconds(case, work.judged_rows, of_valid, speed)
    before += _forward_seconds(case, work.start_rows, of_valid, speed)
    parts = {
        "start_seconds": START_SECONDS,
        "before_seconds": before,
        "train_seconds": steps.total * step,
        "valid_seconds": steps.evaluations * valid,
        "checkpoint_seconds": 0.0,
        "test_seconds": test,
        "publish_seconds": PUBLISH_SECONDS,
    }
    return TimePlan(
        **{name: round(value, 2) for name, value in parts.items()},
        total_seconds=round(sum(parts.values()), 2),
        step_seconds=round(step, 4),
        samples_per_second=round(spec.training.global_batch_size / step, 2),
        basis=speed.basis,
    )


def with_checkpoints(time: TimePlan, checkpoints: CheckpointPlan) -> TimePlan:
    """The time with the waits for checkpoints; the last one's upload is waited for whole."""
    seconds = checkpoints.count * checkpoints.stall_seconds + checkpoints.upload_seconds
    return time.model_copy(
        update={
            "checkpoint_seconds": round(seconds, 2),
            "total_seconds": round(time.total_seconds + seconds, 2),
        }
    )


def _forward_seconds(case: MemoryCase, rows: int, length: float, speed: Speed) -> float:
    return rows * length * forward_flops(case, length) / (speed.flops * case.workers)


def _generation_seconds(case: MemoryCase, work: Work, num_beams: int, speed: Speed) -> float:
    """A token at a time, each of which reads every weight once for its whole batch."""
    tokens = work.generated_rows * work.generated_tokens
    compute = tokens * num_beams * forward_flops(case, work.generated_tokens) / speed.flops
    steps = tokens / GENERATED_AT_ONCE
    reading = steps * case.weight_bytes * case.model.total_parameters / speed.memory_bytes
    return (max(compute, reading) + steps * GENERATION_STEP_SECONDS) / case.workers


def total_rows(data: DataFacts, split: str, domains: Sequence[str] | None = None) -> int:
    """Rows of a split over all domains, or those named."""
    return sum(
        facts.num_rows
        for (domain, name), facts in data.splits.items()
        if name == split and (domains is None or domain in domains)
    )
