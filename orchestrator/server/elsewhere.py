"""Plans for hardware that is not here: what the spec's job would need there, and which way to take.

Called by `orchestrator.server`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path

from orchestrator.control.admission.option_records import HardwarePlan
from orchestrator.control.admission.options import plan_fleets
from orchestrator.control.controller.look import FoundBase, Vantage, find_base, look
from orchestrator.errors import SettingsError, UserError
from orchestrator.inspect.accelerators import ACCELERATORS, accelerator
from orchestrator.inspect.fleets import parse_fleets
from orchestrator.settings import Settings
from orchestrator.specs import FineTuneSpec
from orchestrator.storage.bases import BasePlaces
from orchestrator.storage.bases_by_config import base_by_config

ON_GPUS = "resources.gpus_per_worker=1"
"""What holds wherever the job is planned for: checks of the spec are not to miss a GPU."""


def plan_elsewhere(
    source: Path, sets: Sequence[str], hardware: Sequence[str], settings: Settings
) -> HardwarePlan:
    """The ways to run a job on each fleet that `hardware` names.

    Raises:
        UserError: An expression is wrong, or the job is a script's, whose needs are its own.
        InvalidInput: Spec, data or base are wrong.
        SettingsError: A price is of no GPU that is known.
    """
    fleets = parse_fleets(hardware)
    prices = prices_by_name(settings)
    by_config: list[bool] = []

    def find(spec: FineTuneSpec, places: BasePlaces) -> FoundBase:
        found = _find(spec, places)
        by_config.append(found is not None)
        return found or find_base(spec, places)

    on_gpus = (*sets, ON_GPUS)
    looked = look(source, on_gpus, settings, probe_store=False, vantage=Vantage(find_base=find))
    if looked.inputs.model is None:
        raise UserError(
            "a custom task's script decides itself what it needs: it cannot be planned for",
            hint="leave --hardware away",
        )
    return plan_fleets(looked.inputs, fleets, prices, by_config=by_config[-1])


def _find(spec: FineTuneSpec, places: BasePlaces) -> FoundBase | None:
    """The base by its config alone, where there is no more of it."""
    if spec.model is None or spec.task.type == "custom":
        return None
    found = base_by_config(spec, places)
    if found is None:
        return None
    base, facts, tokenizer = found
    return FoundBase(base, facts, tokenizer)


def prices_by_name(settings: Settings) -> Mapping[str, float]:
    """The operator's prices, by the catalogue's names."""
    found: dict[str, float] = {}
    for name, price in settings.prices.items():
        kind = accelerator(name)
        if kind is None:
            names = [entry.name for entry in ACCELERATORS]
            near = get_close_matches(name.upper(), names, n=1)
            hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(names)}"
            where = settings.source("prices")
            raise SettingsError(f"prices ({where}): no GPU {name!r} is known", hint=hint)
        found[kind.name] = price
    return found
