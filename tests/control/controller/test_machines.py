from __future__ import annotations

from orchestrator.control.backends.base import NodeInfo
from orchestrator.control.backends.fake import FakeBackend
from orchestrator.control.controller.effects import InlineEffects
from orchestrator.control.controller.machines import Machines
from orchestrator.errors import BackendUnavailable

NODE = NodeInfo("n1", cpus=2)


def test_machines_are_asked_for_now_and_then_and_at_once_when_one_was_lost() -> None:
    machines, effects, backends = Machines({}), InlineEffects(), {"toy": FakeBackend()}
    asked = []
    for now in (0.0, 1.0, 4.9, 5.0, 6.0):
        if now == 6.0:
            machines.ask_soon()
        machines.ask(backends, effects, now)
        asked.append(len(effects.finished()))
    assert asked == [1, 0, 0, 1, 1]


def test_a_backend_that_is_away_takes_nothing_new() -> None:
    machines = Machines({})
    machines.learn("toy", (NODE,))
    assert machines.told["toy"][0].is_alive
    machines.learn("toy", BackendUnavailable("nobody answers"))
    assert [(node.name, node.is_alive) for node in machines.told["toy"]] == [("n1", False)]
