"""A rank's place in its gang, and a control channel beside the training's own collectives.

The control group is always gloo on host memory, so that agreeing on "save now" neither waits for a
GPU nor mixes with gradients.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist

CONTROL_TIMEOUT = timedelta(hours=2)  # rank 0 may publish or wait for a store meanwhile


@dataclass(frozen=True, slots=True)
class Gang:
    """Who this rank is."""

    rank: int
    world_size: int
    local_rank: int
    group: dist.ProcessGroup

    @classmethod
    def join(cls) -> Gang:
        """Uses the process group Ray Train has made, or makes torchrun's."""
        if not dist.is_initialized():
            dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
        group = dist.new_group(backend="gloo", timeout=CONTROL_TIMEOUT)
        assert group is not None
        local_rank = int(os.environ.get("LOCAL_RANK", "0"))
        return cls(dist.get_rank(), dist.get_world_size(), local_rank, group)

    @property
    def is_first(self) -> bool:
        return self.rank == 0

    def device(self) -> torch.device:
        """This rank's GPU, or the CPU."""
        if not torch.cuda.is_available():
            return torch.device("cpu")
        # Ray shows each worker its own GPU only; torchrun shows all of them.
        number = self.local_rank if torch.cuda.device_count() > 1 else 0
        torch.cuda.set_device(number)
        return torch.device("cuda", number)

    def from_first(self, value: Any) -> Any:
        """Rank 0's value on every rank; the other ranks' argument is ignored."""
        box = [value]
        dist.broadcast_object_list(box, src=0, group=self.group)
        return box[0]

    def flags_from_first(self, flags: int) -> int:
        """As `from_first` for a small number: cheap enough for every step."""
        box = torch.tensor([flags], dtype=torch.int64)
        dist.broadcast(box, src=0, group=self.group)
        return int(box.item())

    def gather(self, value: Any) -> list[Any]:
        """Every rank's value, by rank, on every rank."""
        values: list[Any] = [None] * self.world_size
        dist.all_gather_object(values, value, group=self.group)
        return values

    def total(self, number: int) -> int:
        """The sum of every rank's number, on every rank."""
        box = torch.tensor([number], dtype=torch.int64)
        dist.all_reduce(box, group=self.group)
        return int(box.item())

    def barrier(self) -> None:
        dist.barrier(group=self.group)
