"""The base model a job starts from."""

from __future__ import annotations

from pydantic import Field

from orchestrator.specs.base import SpecModel


class ModelSpec(SpecModel):
    """Which pretrained model to start from."""

    base: str = Field(
        min_length=1,
        description=(
            "Base model: hf://org/name, package://python_package/folder, a folder, "
            "s3://bucket/prefix, models://name@version or job://name."
        ),
    )
    revision: str | None = Field(
        default=None,
        description="For hf:// a branch, tag or commit; pinned to a commit when the plan is made.",
    )
    optimizer: bool = Field(
        default=False,
        description=(
            "Go on from the newest checkpoint of the job that made the base, with the optimizer's "
            "moments and the weights they belong to; for models:// and job://."
        ),
    )
