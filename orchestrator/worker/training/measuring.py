"""What a rank measures of itself: its memory's peak, the gang's tokens a second, the share of the
GPU's arithmetic that they use.

Called by the clock (peaks of phases) and by the trainer (with each logged step).
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torch

from orchestrator.inspect.accelerators import accelerator_of_device
from orchestrator.worker.data.batches import IGNORED
from orchestrator.worker.gang import Gang

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
_FORGET_PEAK = "5"  # Linux's word for it: proc(5)
_DOWN, _UP = 4, 2  # FLOPs of a weight for a token: to its output and back, and to its gradient


def forget_peak() -> None:
    """From here on `peak_bytes` is of what comes."""
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    else:
        with suppress(OSError):  # the peak is then that of the whole process
            _CLEAR.write_text(_FORGET_PEAK)


def peak_bytes() -> int | None:
    """What PyTorch held at most of the GPU, or this process of host memory; None: not told."""
    if torch.cuda.is_available():
        return int(torch.cuda.max_memory_allocated())
    with suppress(OSError):
        for line in _STATUS.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return None


@dataclass(slots=True)
class Speedometer:
    """Tokens of this rank since they were told last."""

    flops_per_token: float
    peak_flops: float | None  # of one worker's GPU, as its data sheet has it
    tokens: int = 0

    @classmethod
    def of(cls, model: torch.nn.Module, precision: str) -> Speedometer:
        """Of a model that still holds its weights whole.

        Kaplan et al. 2020 (arXiv:2001.08361), section 2.1: 6 FLOPs a weight and token; a weight
        that does not learn has no gradient, and 4.
        """
        sizes = [(p.numel(), p.requires_grad) for p in model.parameters()]
        total = sum(size for size, _ in sizes)
        learning = sum(size for size, learns in sizes if learns)
        return cls(float(_DOWN * total + _UP * learning), _peak_flops(precision))

    def count(self, batch: dict[str, torch.Tensor]) -> None:
        """Adds a micro-batch as the task makes it: what is read, and what a decoder writes."""
        mask = batch.get("attention_mask")
        if mask is None:
            return
        self.tokens += int(mask.sum())
        if "decoder_input_ids" in batch:
            self.tokens += int((batch["labels"] != IGNORED).sum())

    def figures(self, gang: Gang, seconds: float) -> dict[str, float]:
        """Of the whole gang in the seconds since the last call; a collective."""
        tokens, self.tokens = gang.total(self.tokens), 0
        found = {"tokens_per_second": tokens / seconds}
        if self.peak_flops is not None:
            share = self.flops_per_token * tokens / seconds / (gang.world_size * self.peak_flops)
            found["mfu"] = share
        return found


def _peak_flops(precision: str) -> float | None:
    if not torch.cuda.is_available():
        return None
    known = accelerator_of_device(torch.cuda.get_device_name())
    if known is None:
        return None
    peaks = dict(known.teraflops)
    return peaks.get(precision, known.teraflops["fp32"]) * 1e12  # type: ignore[call-overload,no-any-return]
