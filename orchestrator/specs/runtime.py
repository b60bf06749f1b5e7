"""Code, variables and secrets that a user brings along; they reach workers alone.

Functions of that code are named by entry points, `module:function`, in the sections they belong to
(`data.transform`, `training.loss`, …). Nothing here runs or imports any of it.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints

from orchestrator.specs.base import DnsLabel, SpecModel

ENTRY_PATTERN = r"^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*:[A-Za-z_][A-Za-z0-9_]*$"
SCRIPT_PATTERN = r"^([A-Za-z0-9_][A-Za-z0-9_.-]*/)*[A-Za-z0-9_][A-Za-z0-9_.-]*\.py$"
VARIABLE_PATTERN = r"^[A-Za-z_][A-Za-z0-9_]*$"
METRIC_PATTERN = r"^[a-z][a-z0-9_]{0,62}$"

EntryPoint = Annotated[str, StringConstraints(pattern=ENTRY_PATTERN)]
"""`metrics:cost`: the function `cost` of `metrics.py`; `pkg.metrics:cost` of `pkg/metrics.py`."""

ScriptPath = Annotated[str, StringConstraints(pattern=SCRIPT_PATTERN)]
"""A script within the code; no part begins with a dot, so none leads out."""

VariableName = Annotated[str, StringConstraints(pattern=VARIABLE_PATTERN)]
CustomMetricName = Annotated[str, StringConstraints(pattern=METRIC_PATTERN)]


class RuntimeSpec(SpecModel):
    """What workers get besides the job itself; only where the operator allows user code."""

    code: str | None = Field(
        default=None,
        min_length=1,
        description=(
            "A folder of Python files (relative to the spec's file), or an s3://, gs:// or az:// "
            "URL of one or of a packed archive of it."
        ),
    )
    env: dict[VariableName, str] = Field(
        default_factory=dict, description="Environment variables of the workers; never secrets."
    )
    secrets: tuple[DnsLabel, ...] = Field(
        default=(),
        description=(
            "Secrets of the operator, by name, as variables of the workers: hf-token as HF_TOKEN."
        ),
    )

    @property
    def is_used(self) -> bool:
        """Whether it asks for anything that an operator may refuse."""
        return self.code is not None or bool(self.env) or bool(self.secrets)


def secret_variable(name: str) -> str:
    """The variable a secret is handed over in: `hf-token` -> `HF_TOKEN`."""
    return name.upper().replace("-", "_")
