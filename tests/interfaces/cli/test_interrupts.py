import os
import signal

import pytest

from orchestrator.interfaces.cli.interrupts import stop_on_signals


class Stop:
    level = 0

    def request(self):
        self.level += 1


@pytest.fixture
def stop():
    return Stop()


def send(number):
    os.kill(os.getpid(), number)


def test_the_second_ctrl_c_insists_and_a_third_changes_nothing(stop):
    told = []
    with stop_on_signals(stop, told.append):
        for _ in range(3):
            send(signal.SIGINT)
    assert (stop.level, told) == (2, [1, 2])


def test_sigterm_asks_and_never_insists(stop):
    told = []
    with stop_on_signals(stop, told.append):
        send(signal.SIGTERM)
        send(signal.SIGTERM)
    assert (stop.level, told) == (1, [1])


def test_ctrl_c_insists_after_sigterm(stop):
    with stop_on_signals(stop, lambda level: None):
        send(signal.SIGTERM)
        send(signal.SIGINT)
    assert stop.level == 2


def test_the_handlers_from_before_come_back(stop):
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with pytest.raises(RuntimeError), stop_on_signals(stop, lambda level: None):
        raise RuntimeError
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before
