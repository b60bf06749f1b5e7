from __future__ import annotations

from orchestrator.control.backends.base import NodeInfo
from orchestrator.control.backends.fake import FakeBackend
from orchestrator.control.controller.effects import InlineEffects, Key
from orchestrator.control.controller.machines import Machines
from orchestrator.control.controller.values import Act
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


def test_a_standby_sees_the_machines_and_drops_what_it_began_when_it_led() -> None:
    machines, effects = Machines({}), InlineEffects()
    backends = {"toy": FakeBackend(nodes=(NODE,))}
    effects.start(Key("job-1", 1, Act.LOOK), lambda: "too late")
    for now in (0.0, 1.0):
        machines.watch(backends, effects, now)
    assert machines.told == {"toy": (NODE,)}
    assert effects.finished() == []
