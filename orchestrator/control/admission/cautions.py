"""What a person should know of a job that can run. Called by `plan`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from orchestrator.control.admission.compatibility import doubts, features_of
from orchestrator.control.admission.duration import total_rows
from orchestrator.control.admission.machine import GB, Machine, host_bytes_of_worker
from orchestrator.control.admission.memory import RUNTIME_BYTES, MemoryCase
from orchestrator.inspect.data import DataFacts, SplitKey
from orchestrator.inspect.hardware import HardwareFacts
from orchestrator.inspect.tokens import TokenFacts
from orchestrator.specs import FineTuneSpec
from orchestrator.specs.gate_checks import gate_domains
from orchestrator.specs.task_views import deciding_keys, learned_keys

TRUNCATED_SHARE = 0.1  # of a split's rows: above it, much of the text is never seen
FEW_VALID_ROWS = 50  # fewer, and the best weights are picked by chance


def data_cautions(
    data: DataFacts, tokens: Mapping[SplitKey, TokenFacts] | None, spec: FineTuneSpec
) -> Iterator[str]:
    """Texts that are cut, and validation splits too small to decide by. `spec` is resolved."""
    if spec.data.transform is not None:
        yield (
            f"rows are counted and checked as the files have them: {spec.data.transform} changes "
            "them in the workers alone"
        )
    for (domain, split), facts in (tokens or {}).items():
        if facts.truncated_share > TRUNCATED_SHARE:
            yield (
                f"{facts.truncated_share:.0%} of the {split} rows of {domain} are cut to "
                f"training.max_length ({spec.training.max_length} tokens; the longest has "
                f"{facts.max})"
            )
    for domain in gate_domains(spec):
        rows = total_rows(data, "valid", [domain])
        if rows < FEW_VALID_ROWS:
            yield f"only {rows} valid rows of {domain} decide about a gate: their figure is rough"
    if spec.selection.last:
        return
    deciding = deciding_keys(spec)
    rows = total_rows(data, "valid", deciding)
    if rows < FEW_VALID_ROWS:
        yield (
            f"only {rows} valid rows ({', '.join(deciding)}) decide which weights are published: "
            "raise data.valid_fraction, or give a larger valid split"
        )


def engine_cautions(spec: FineTuneSpec, hardware: HardwareFacts) -> Iterator[str]:
    """Of the spec as written: nobody is to be warned of what the plan chose itself."""
    yield from doubts(features_of(spec, hardware))


def memory_cautions(machine: Machine, case: MemoryCase) -> Iterator[str]:
    """The machine is large enough, but others use it."""
    needed = case.workers * host_bytes_of_worker(case) + RUNTIME_BYTES
    available = machine.hardware.available_memory_bytes
    if available < needed <= machine.host_limit_bytes:
        yield (
            f"the job needs {needed / GB:.1f} GB of memory, and other processes leave only "
            f"{available / GB:.1f} GB free now"
        )


def watched_domains(spec: FineTuneSpec) -> tuple[str, ...]:
    """The domains whose valid split is evaluated: those learned from, and the metric's own."""
    learned = learned_keys(spec)
    more = [name for name in deciding_keys(spec) if name not in learned]
    return (*learned, *more)
