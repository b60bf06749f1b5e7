"""The rows of a job as its plan shows them: splits, and each domain's part of an epoch."""

from __future__ import annotations

from collections.abc import Iterator

from orchestrator.control.admission.inputs import PlanInputs
from orchestrator.control.admission.records import DrawPlan, SplitPlan
from orchestrator.specs import MetaMethod


def split_plans(inputs: PlanInputs) -> Iterator[SplitPlan]:
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


def draw_plans(inputs: PlanInputs) -> Iterator[DrawPlan]:
    everything = max(inputs.data.num_train_rows, 1)
    if isinstance(inputs.spec.spec.method, MetaMethod):
        return  # domains take turns
    for draw in inputs.data.draws:
        yield DrawPlan(
            domain=draw.domain,
            rows=draw.rows,
            drawn=draw.drawn,
            share=round(draw.drawn / everything, 4),
            replayed=draw.replayed,
        )
