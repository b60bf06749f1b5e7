"""Several tasks at once: every weight of the shared model learns, and what balances the losses."""

from __future__ import annotations

from orchestrator.specs import MultiTaskMethod
from orchestrator.worker.models.shared import SharedModel


def apply(method: MultiTaskMethod, model: SharedModel) -> None:
    """Adds the uncertainties where losses are balanced by them."""
    if method.balancing == "uncertainty":
        model.learn_uncertainties()
