"""Gates: figures on valid that decide whether a published version gets the alias `promoted`."""

from __future__ import annotations

from pydantic import Field, model_validator

from orchestrator.specs.base import SpecError, SpecModel
from orchestrator.specs.metrics import MetricPath


class GateSpec(SpecModel):
    """One condition: a metric with a bound, or a bound of what was forgotten."""

    metric: MetricPath | None = Field(
        default=None,
        description="domain/metric read on valid, or mean/metric over train_on; with one bound.",
    )
    at_least: float | None = Field(default=None, description="The metric must not be smaller.")
    at_most: float | None = Field(default=None, description="The metric must not be larger.")
    forgetting_at_most: float | None = Field(
        default=None,
        ge=0,
        description=(
            "The most that the selection metric may get worse, from the start to what is "
            "published, on the valid split of any domain that is not trained on."
        ),
    )

    @model_validator(mode="after")
    def _one_condition(self) -> GateSpec:
        bounds = [bound for bound in (self.at_least, self.at_most) if bound is not None]
        if self.forgetting_at_most is not None and (self.metric is not None or bounds):
            raise SpecError(
                "`forgetting_at_most` is a gate of its own",
                field="forgetting_at_most",
                hint="[{metric: movie/macro_f1, at_least: 0.7}, {forgetting_at_most: 0.02}]",
            )
        if self.forgetting_at_most is None and (self.metric is None or len(bounds) != 1):
            raise SpecError(
                "a gate is a metric with one bound, or a bound of forgetting",
                hint="{metric: movie/macro_f1, at_least: 0.7}, or {forgetting_at_most: 0.02}",
            )
        return self
