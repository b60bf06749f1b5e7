"""What the backends last told of their machines. Used by `loop` alone."""

from __future__ import annotations

import logging
from collections.abc import Mapping, MutableMapping
from dataclasses import replace

from orchestrator.control.backends.base import Backend, NodeInfo
from orchestrator.control.controller.effects import Effects, Key
from orchestrator.control.controller.values import Act

logger = logging.getLogger(__name__)

ASK_SECONDS = 5.0


class Machines:
    """backend -> its machines."""

    def __init__(self, told: MutableMapping[str, tuple[NodeInfo, ...]]) -> None:
        self.told = told
        self._ask_at = float("-inf")

    def ask(self, backends: Mapping[str, Backend], effects: Effects, now: float) -> None:
        """On threads like every other question: a cluster that hangs must not hold the loop."""
        if now < self._ask_at:
            return
        self._ask_at = now + ASK_SECONDS
        for name, backend in backends.items():
            effects.start(Key(name, 0, Act.COUNT), backend.nodes)

    def watch(self, backends: Mapping[str, Backend], effects: Effects, now: float) -> None:
        """What a standby does: the API of its process shows the machines, and plans by them."""
        self.ask(backends, effects, now)
        for key, result in effects.finished():
            if key.act is Act.COUNT:  # the others were begun when it led, and are too late
                self.learn(key.job, result)

    def ask_soon(self) -> None:
        """A node was found dead: the next gang must not be placed by what was told before."""
        self._ask_at = float("-inf")

    def learn(self, backend: str, result: object) -> None:
        """Takes in what one said. One that is away keeps its nodes, but takes nothing new."""
        if isinstance(result, Exception):
            logger.warning("backend %s: %s", backend, result)
            known = self.told.get(backend, ())
            self.told[backend] = tuple(replace(node, is_alive=False) for node in known)
        elif isinstance(result, tuple):
            self.told[backend] = result
