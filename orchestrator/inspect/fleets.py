"""Hardware that need not be here, as a person writes it: `8xH100`, `2x8xA100-80GB`.

Called by `server` for `plan --hardware`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from orchestrator.errors import UserError
from orchestrator.inspect.accelerators import ACCELERATORS, Accelerator, accelerator
from orchestrator.inspect.hardware import Gpu, HardwareFacts
from orchestrator.specs.suggest import closest

_EXPRESSION = re.compile(r"(?:(?:(\d+) *[x×*] *)?(\d+) *[x×*] *)?([^\s].*)", re.IGNORECASE)
_MOST_NODES = 10_000
_HINT = "write GPUs or nodes and GPUs, e.g. 8xH100 or 2x8xA100-80GB"


@dataclass(frozen=True, slots=True)
class Fleet:
    """Nodes with as many GPUs of one kind each."""

    nodes: int
    gpus_per_node: int
    accelerator: Accelerator

    @property
    def num_gpus(self) -> int:
        return self.nodes * self.gpus_per_node

    @property
    def name(self) -> str:
        one = f"{self.gpus_per_node}x{self.accelerator.name}"
        return one if self.nodes == 1 else f"{self.nodes}x{one}"

    @property
    def node(self) -> HardwareFacts:
        """One machine of it, as if it had been looked at; disk space is taken to be there."""
        kind, around = self.accelerator, self.accelerator.around
        memory = around.host_memory_bytes * self.gpus_per_node
        return HardwareFacts(
            cpus=around.cpus * self.gpus_per_node,
            memory_bytes=memory,
            available_memory_bytes=memory,
            disk_path="",
            disk_free_bytes=1 << 60,
            shm_bytes=memory // 2,  # what Linux gives /dev/shm
            gpus=tuple(
                Gpu(
                    index=index,
                    name=kind.name,
                    memory_bytes=kind.memory_bytes,
                    free_memory_bytes=kind.memory_bytes,
                    compute_capability=kind.compute_capability,
                )
                for index in range(self.gpus_per_node)
            ),
        )


def parse_fleets(texts: Iterable[str]) -> tuple[Fleet, ...]:
    """Every fleet that is named, in order, each once; several in one text are parted by commas.

    Raises:
        UserError: What is no expression, an unknown GPU (with the nearest and all known ones), or
            more than such a machine holds.
    """
    words = [word.strip() for text in texts for word in text.split(",")]
    found = [_parsed(word) for word in words if word]
    if not found:
        raise UserError("--hardware names none", hint=_HINT)
    return tuple({fleet.name: fleet for fleet in found}.values())


def _parsed(text: str) -> Fleet:
    match = _EXPRESSION.fullmatch(text)
    if match is None:
        raise UserError(f"--hardware {text}: not understood", hint=_HINT)
    kind = accelerator(match[3])
    if kind is None:
        raise _unknown(text, match[3])
    nodes, gpus = (None if number is None else int(number) for number in (match[1], match[2]))
    if nodes == 0 or gpus == 0:
        raise UserError(f"--hardware {text}: that is nothing", hint=_HINT)
    return _placed(text, kind, nodes, gpus or 1)


def _placed(text: str, kind: Accelerator, nodes: int | None, gpus: int) -> Fleet:
    """GPUs in nodes; more than one holds are spread where they fill whole nodes."""
    most = kind.around.most_per_node
    if nodes is None and gpus > most and gpus % most == 0:
        nodes, gpus = gpus // most, most
    if gpus > most:
        sizes = ", ".join(_even_splits(kind, (nodes or 1) * gpus))
        hint = f"write {sizes}" if sizes else f"write a multiple of {most}"
        message = f"a machine holds at most {most} {kind.name}, not {gpus}"
        raise UserError(f"--hardware {text}: {message}", hint=hint)
    if (nodes or 1) > _MOST_NODES:
        raise UserError(f"--hardware {text}: at most {_MOST_NODES:,} nodes are planned for")
    return Fleet(nodes or 1, gpus, kind)


def _even_splits(kind: Accelerator, total: int) -> Iterator[str]:
    """The largest nodes that hold just as many."""
    for size in range(kind.around.most_per_node, 1, -1):
        if total % size == 0 and total // size <= _MOST_NODES:
            yield f"{total // size}x{size}x{kind.name}"
            return


def _unknown(text: str, name: str) -> UserError:
    names = [entry.name for entry in ACCELERATORS]
    near = closest(name, [*names, *(alias for entry in ACCELERATORS for alias in entry.aliases)])
    known = f"known are {', '.join(names)}"
    hint = f"did you mean {near}? {known}" if near else f"{known}; {_HINT}"
    return UserError(f"--hardware {text}: no GPU '{name}' is known", hint=hint)
