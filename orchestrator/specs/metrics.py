"""Which metrics a task has, which of them are smaller the better, and which decide by default.

Names only, so that `validate` knows them without the libraries that compute them. Called by the
checks, the plan and everything that shows figures.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args

from pydantic import StringConstraints

MetricName = Literal[
    "accuracy",
    "macro_f1",
    "micro_f1",
    "weighted_f1",
    "macro_precision",
    "macro_recall",
    "weighted_precision",
    "weighted_recall",
    "ece",
    "brier",
    "subset_accuracy",
    "samples_f1",
    "micro_precision",
    "micro_recall",
    "rmse",
    "mae",
    "r2",
    "pearson",
    "spearman",
    "loss",
    "perplexity",
    "token_accuracy",
    "bleu",
    "chrf",
    "rouge1",
    "rouge2",
    "rouge_l",
    "rouge_lsum",
    "length_ratio",
]
METRIC_NAMES: tuple[str, ...] = get_args(MetricName)
METRICS_TO_MINIMIZE: frozenset[str] = frozenset(
    {"loss", "perplexity", "ece", "brier", "rmse", "mae"}
)

FLOORS: dict[str, str] = {
    "majority": "always answering the most frequent class",
    "constant": "the best answer that is the same for every row",
    "copy": "giving the source back untranslated",
    "lead": "giving the first sentence of the text",
}
"""What asks no model, and what it does: `copy_chrf` stands beside `chrf`."""


def floor_of(values: Mapping[str, Any], metric: str) -> float | None:
    """The floor of a metric among the figures of a split; None where it has none."""
    found = (values.get(f"{floor}_{metric}") for floor in FLOORS)
    return next((value for value in found if isinstance(value, float)), None)


# `camera/macro_f1`: a domain of the job and a metric of the task, or `mean/macro_f1` over train_on.
# Of several tasks also `topic/camera/macro_f1`, and `topic/mean/macro_f1` over a task's domains.
MetricPath = Annotated[
    str,
    StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]*(/[a-z0-9][a-z0-9_-]*)?/[a-z0-9_]+$"),
]


@dataclass(frozen=True, slots=True)
class TaskMetrics:
    """The metrics of one task."""

    forced: tuple[str, ...]
    """Read off one forward pass, so on valid as well: the ones that may decide."""
    generated: tuple[str, ...]
    """Of texts the model writes itself: only at the end, on test."""
    shown: tuple[str, ...]
    """Of the final table where the spec names none."""
    selection: str
    """Decides which weights are published where the spec names none."""

    @property
    def all(self) -> tuple[str, ...]:
        return (*self.forced, *self.generated)


_CLASSES = (
    *("accuracy", "macro_f1", "micro_f1", "weighted_f1", "macro_precision", "macro_recall"),
    *("weighted_precision", "weighted_recall", "ece", "brier", "loss"),
)
_LABEL_SETS = (
    *("subset_accuracy", "micro_f1", "macro_f1", "samples_f1", "weighted_f1", "micro_precision"),
    *("micro_recall", "macro_precision", "macro_recall", "ece", "brier", "loss"),
)
_NUMBERS = ("rmse", "mae", "r2", "pearson", "spearman", "loss")
_TOKENS = ("loss", "perplexity", "token_accuracy")

TASK_METRICS: dict[str, TaskMetrics] = {
    "text-classification": TaskMetrics(
        forced=_CLASSES,
        generated=(),
        shown=("accuracy", "macro_f1", "weighted_f1"),
        selection="mean/macro_f1",
    ),
    "causal-lm": TaskMetrics(
        forced=_TOKENS,
        generated=(),
        shown=("perplexity", "token_accuracy"),
        selection="mean/loss",
    ),
    **dict.fromkeys(
        ("masked-lm", "denoising"),
        TaskMetrics(
            forced=_TOKENS,
            generated=(),
            shown=("perplexity", "token_accuracy"),
            selection="mean/loss",
        ),
    ),
    "translation": TaskMetrics(
        forced=_TOKENS,
        generated=("bleu", "chrf", "length_ratio"),
        shown=("chrf", "bleu", "perplexity"),
        selection="mean/loss",
    ),
    "summarization": TaskMetrics(
        forced=_TOKENS,
        generated=("rouge1", "rouge2", "rouge_l", "rouge_lsum", "length_ratio"),
        shown=("rouge_l", "rouge1", "rouge2", "perplexity"),
        selection="mean/loss",
    ),
}
"""By the task's type, where it has but one kind: see `task.metrics_of`. A custom task's script
reports what it likes."""

PROBLEM_METRICS: dict[str, TaskMetrics] = {
    "single_label": TASK_METRICS["text-classification"],
    "multi_label": TaskMetrics(
        forced=_LABEL_SETS,
        generated=(),
        shown=("micro_f1", "macro_f1", "samples_f1", "subset_accuracy"),
        selection="mean/macro_f1",
    ),
    "regression": TaskMetrics(
        forced=_NUMBERS,
        generated=(),
        shown=("rmse", "mae", "r2", "pearson", "spearman"),
        selection="mean/rmse",
    ),
}
"""By the problem of a text classification."""
