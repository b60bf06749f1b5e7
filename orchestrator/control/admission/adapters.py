"""What an adapter method leaves open, written out, and how much of the base it trains.

Called by `plan` through `resolve` and by `trainable`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from orchestrator.control.admission.records import Choice
from orchestrator.inspect.adapters import default_targets, saved_whole, targeted
from orchestrator.inspect.model import ModelFacts
from orchestrator.inspect.modules import TensorGroup
from orchestrator.specs import AdapterMethod, MethodSpec, QloraMethod

DEFAULT_RANK = 16
DEFAULT_ALPHA_PER_RANK = 2
DORA_OUTPUTS = 3  # measured: what DoRA keeps of a module's size of output for the way back


@dataclass(frozen=True, slots=True)
class AdapterSize:
    """Parameters of an adapter on one base."""

    updates: int  # of the small matrices
    whole: int  # of modules of the base that learn whole; the frozen originals stay beside them
    quantized: int  # of the base, held in 4 bits
    kept_per_token: int  # elements kept for the way back beside the base's, all layers together
    masks_per_token: int  # bytes of the dropout masks among them


def resolved_method(method: MethodSpec, facts: ModelFacts) -> MethodSpec:
    """The method with every open field written out for this base."""
    if not isinstance(method, AdapterMethod):
        return method
    if (adapter := facts.adapter) is not None:
        update = {
            "rank": adapter.rank,
            "alpha": adapter.alpha,
            "target_modules": adapter.target_modules,
            "use_dora": adapter.use_dora,
            "use_rslora": adapter.use_rslora,
        }
        return method.model_copy(update=update)
    rank = method.rank or DEFAULT_RANK
    update = {
        "rank": rank,
        "alpha": method.alpha or float(DEFAULT_ALPHA_PER_RANK * rank),
        "target_modules": method.target_modules or default_targets(facts.tensors),
        "use_dora": bool(method.use_dora),
        "use_rslora": bool(method.use_rslora),
    }
    return method.model_copy(update=update)


def adapter_size(method: AdapterMethod, facts: ModelFacts) -> AdapterSize:
    """Counts a resolved method's parameters."""
    assert method.rank is not None, "a resolved method has a rank"
    assert method.target_modules is not None, "a resolved method names its modules"
    beside = targeted(facts.tensors, method.target_modules)
    linear = [group for group in facts.tensors if group.is_projection]
    inputs = sum(group.count * group.shape[-1] for group in beside) if method.dropout else 0
    outputs = sum(group.count * group.shape[0] for group in beside)
    # A frozen module without an update keeps no input of its own.
    spared = sum(
        group.count * group.shape[-1]
        for group in linear
        if group not in beside and group.shape[-1] != facts.hidden_size
    )
    return AdapterSize(
        updates=sum(group.count * _update(group, method) for group in beside),
        whole=sum(g.num_elements for g in saved_whole(facts.tensors, method.modules_to_save)),
        quantized=sum(g.num_elements for g in linear) if isinstance(method, QloraMethod) else 0,
        kept_per_token=(
            method.rank * sum(group.count for group in beside)
            + inputs
            + (DORA_OUTPUTS * outputs if method.use_dora else 0)
            - spared
        ),
        masks_per_token=inputs,
    )


def adapter_choices(
    written: MethodSpec, resolved: MethodSpec, facts: ModelFacts
) -> Iterator[Choice]:
    """What was chosen of an adapter."""
    if not isinstance(written, AdapterMethod) or not isinstance(resolved, AdapterMethod):
        return
    kept = "that of the adapter to go on with" if facts.adapter is not None else None
    if written.rank is None:
        yield Choice(path="method.rank", value=str(resolved.rank), why=kept or "the default")
    if written.alpha is None:
        why = kept or f"{DEFAULT_ALPHA_PER_RANK} times the rank"
        yield Choice(path="method.alpha", value=f"{resolved.alpha:g}", why=why)
    if written.target_modules is None:
        targets = ", ".join(resolved.target_modules or ())
        why = kept or f"every linear module of the layers of a {facts.model_type}"
        yield Choice(path="method.target_modules", value=targets, why=why)


def _update(group: TensorGroup, method: AdapterMethod) -> int:
    """One update: rank x in and out x rank; DoRA has a magnitude for each output too."""
    outputs, inputs = group.shape
    assert method.rank is not None
    return method.rank * (inputs + outputs) + (outputs if method.use_dora else 0)
