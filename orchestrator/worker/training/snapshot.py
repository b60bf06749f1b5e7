"""What a checkpoint holds, copied while the step loop waits and written after it went on.

DeepSpeed hands each file's state to its `checkpoint_engine`; here that one takes a copy in host
memory, which lies pinned beside GPUs. A thread of the Checkpointer writes it, hashes it and sends
it off. DeepSpeed's own decoupled engine copies nothing: it holds the loop again before weights may
change, and it needs libaio.

Writing at once, for those whose memory holds no copy, goes the same way without copying: both give
the same bytes.
"""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from deepspeed.runtime.checkpoint_engine.torch_checkpoint_engine import TorchCheckpointEngine

Write = Callable[[], None]


class Shelf:
    """Host memory that snapshots are copied to, kept from one to the next: fresh memory is slow.

    Only one snapshot is on it at a time.
    """

    def __init__(self) -> None:
        self._places: list[torch.Tensor] = []
        self._next = 0

    def clear(self) -> None:
        self._next = 0

    def put(self, tensor: torch.Tensor) -> torch.Tensor:
        """A copy of it; one of a GPU's is there only after `torch.cuda.synchronize`."""
        place = self._place(tensor)
        place.copy_(tensor, non_blocking=True)
        return place

    def _place(self, tensor: torch.Tensor) -> torch.Tensor:
        number, self._next = self._next, self._next + 1
        if number < len(self._places):
            there = self._places[number]
            if there.shape == tensor.shape and there.dtype == tensor.dtype:
                return there
        pinned = tensor.is_cuda
        place = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=pinned)
        self._places[number : number + 1] = [place]
        return place


class Snapshots:
    """Takes the files of one checkpoint after the other."""

    def __init__(self) -> None:
        self._shelf = Shelf()
        self._writes: list[Write] = []
        self._is_held = False

    def begin(self, *, is_held: bool) -> None:
        """A new checkpoint; the one before is written. `is_held`: each file is written at once."""
        assert not self._writes, "what was taken before was not written"
        self._shelf.clear()
        self._is_held = is_held

    def add(self, state: Any, path: Path) -> None:
        """Takes the state of one file."""
        if self._is_held:
            torch.save(compact(state, _as_it_is), path)
            return
        taken = compact(state, self._shelf.put)
        self._writes.append(lambda: torch.save(taken, path))

    def add_write(self, write: Write) -> None:
        """Takes what is written in another way; it must hold nothing that training changes."""
        if self._is_held:
            write()
        else:
            self._writes.append(write)

    def put(self, state: Any) -> Any:
        """A copy of it, or itself where it is written at once."""
        return compact(state, _as_it_is if self._is_held else self._shelf.put)

    def end(self) -> list[Write]:
        """What is left to do, in order; the step loop may go on."""
        if torch.cuda.is_available() and not self._is_held:
            torch.cuda.synchronize()
        writes, self._writes = self._writes, []
        return writes


class SnapshotEngine(TorchCheckpointEngine):  # type: ignore[misc]
    """DeepSpeed's way to a file, through a snapshot. It is read as ever."""

    def __init__(self, snapshots: Snapshots) -> None:
        super().__init__()
        self._snapshots = snapshots

    def save(self, state_dict: Any, path: str) -> None:
        self._snapshots.add(state_dict, Path(path))

    def preserves_storage_sharing(self) -> bool:
        """DeepSpeed need not part views from what they are a view of: `compact` does."""
        return False


def compact(value: Any, take: Callable[[torch.Tensor], torch.Tensor]) -> Any:
    """The same state with every tensor taken once, in host memory and alone in its storage."""
    return _compact(value, take, {})


def _compact(
    value: Any, take: Callable[[torch.Tensor], torch.Tensor], known: dict[Any, Any]
) -> Any:
    if torch.is_tensor(value):
        tensor = value.detach()
        key = (tensor.data_ptr(), tensor.dtype, tensor.shape, tensor.stride())
        if tensor.numel() == 0:
            return torch.empty(tensor.shape, dtype=tensor.dtype)
        if key not in known:
            known[key] = take(tensor)
        return known[key]
    if isinstance(value, dict):
        items = [(key, _compact(item, take, known)) for key, item in value.items()]
        found = type(value)(items) if type(value) in (dict, OrderedDict) else dict(items)
        if isinstance(value, OrderedDict):  # torch keeps versions of modules beside the weights
            vars(found).update(copy.deepcopy(vars(value)))
        return found
    if type(value) in (list, tuple):
        return type(value)(_compact(item, take, known) for item in value)
    return value if isinstance(value, _CONSTANTS) else copy.deepcopy(value)


_CONSTANTS = (str, bytes, int, float, bool, type(None), torch.dtype, torch.device, torch.Size)


def _as_it_is(tensor: torch.Tensor) -> torch.Tensor:
    """In host memory, and without the rest of what it is a view of."""
    tensor = tensor.cpu()
    is_whole = tensor.untyped_storage().nbytes() == tensor.numel() * tensor.element_size()
    alone = tensor if is_whole and tensor.is_contiguous() else tensor.contiguous().clone()
    return alone.flatten().view(tensor.shape)  # the strides of dimensions of one, too
