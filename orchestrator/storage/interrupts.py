"""Ctrl-C while a store does not answer.

obstore waits outside Python, where no signal handler runs: the main thread would be deaf for as
long as a request may stall. `ObjectStore` waits for it from here instead.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")


def interruptibly(operation: Callable[[], T]) -> T:
    """The operation's result or error; in the main thread signals are handled meanwhile.

    What was interrupted goes on in a daemon thread, which nobody waits for.
    """
    if threading.current_thread() is not threading.main_thread():
        return operation()
    outcome: Future[T] = Future()

    def run() -> None:
        try:
            outcome.set_result(operation())
        except BaseException as error:  # noqa: BLE001 - handed to the thread that waits
            outcome.set_exception(error)

    threading.Thread(target=run, name="store", daemon=True).start()
    return outcome.result()
