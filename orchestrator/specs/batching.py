"""How rows become batches: `training.batching`."""

from __future__ import annotations

from pydantic import Field

from orchestrator.specs.base import SpecModel


class BatchingSpec(SpecModel):
    """Fewer padding tokens, by putting rows of like length together or side by side."""

    group_by_length: bool = Field(
        default=False,
        description="Rows of like length are learned in one step; the order of steps is random.",
    )
    window: int = Field(
        default=50,
        ge=2,
        description="Steps whose rows are sorted by length together, with group_by_length.",
    )
    packing: bool = Field(
        default=False,
        description=(
            "Rows of a micro-batch lie side by side in fewer, fuller sequences, and each sees its "
            "own tokens only: the same loss for less computation."
        ),
    )
