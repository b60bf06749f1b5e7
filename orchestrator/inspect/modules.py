"""Which modules a base is made of, from the names of its tensors: what adapters are planned with.

Called by `inspect.model` and `inspect.adapters`. A module is named by its path below its layer, as
far as it is in one (`attention.self.query`): what all layers have is one entry.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from pydantic import Field

from orchestrator.inspect.facts import Facts
from orchestrator.inspect.safetensors import Tensor

_LAYER = re.compile(
    r"(?P<stack>(?:^|.*?\.)(?:layers?|h|blocks?|albert_layer_groups))\.(?P<at>\d+)\."
)
_EMBEDDING = re.compile(r"embed|(^|\.)(wte|wpe|shared)\.")
# Routers pick experts, and experts are stored apart but run fused; tables of relative positions
# are embeddings. None of them is a linear module that an update could be put beside.
_NO_PROJECTION = re.compile(r"(^|\.)(experts|router|gate|relative_attention_bias)\.|conv")


class TensorGroup(Facts):
    """Parameters that have the same name and shape in every layer that has them."""

    name: str = Field(description="Below its layer, or the whole path of what is in none.")
    shape: tuple[int, ...]
    count: int = Field(description="How many there are.")
    in_layers: bool

    @property
    def module(self) -> str:
        """The module it belongs to."""
        return self.name.rpartition(".")[0]

    @property
    def num_elements(self) -> int:
        """Of all of them together."""
        total = self.count
        for size in self.shape:
            total *= size
        return total

    @property
    def is_projection(self) -> bool:
        """Whether it is the weight of a linear module within the layers."""
        return (
            self.in_layers
            and len(self.shape) == 2
            and self.name.endswith(".weight")
            and not _EMBEDDING.search(self.name)
            and not _NO_PROJECTION.search(self.name)
        )


def layer_of(name: str) -> tuple[str, int] | None:
    """The stack and the number of the layer that a tensor is in."""
    found = _LAYER.match(name)
    return (found["stack"], int(found["at"])) if found else None


def is_embedding(name: str) -> bool:
    return _EMBEDDING.search(name) is not None


def grouped(tensors: Sequence[Tensor]) -> tuple[TensorGroup, ...]:
    """The parameters of a base, layer by layer alike, in the order of their names."""
    counts: Counter[tuple[str, tuple[int, ...], bool]] = Counter()
    for tensor in tensors:
        layer = _LAYER.match(tensor.name)
        name = tensor.name[layer.end() :] if layer else tensor.name
        counts[name, tensor.shape, layer is not None] += 1
    return tuple(
        TensorGroup(name=name, shape=shape, count=count, in_layers=in_layers)
        for (name, shape, in_layers), count in sorted(counts.items())
    )
