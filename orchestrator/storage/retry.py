"""Outliving an outage: tries an operation again while the store cannot be reached.

obstore retries single requests for seconds; a server that is restarted stays away for longer, and
training must outlive that. Used by `ObjectStore` around every operation.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from orchestrator.errors import StoreUnavailable

T = TypeVar("T")

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Retry:
    """Capped exponential backoff with jitter over at most `seconds` from the first try.

    Half of each delay is random: ranks that lost the store together do not return together.
    """

    seconds: float
    first_delay_seconds: float = 0.25
    max_delay_seconds: float = 5.0
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic
    jitter: Callable[[], float] = random.random

    def call(self, operation: Callable[[], T]) -> T:
        """The operation's result; only StoreUnavailable is retried, the last one is raised."""
        start = self.clock()
        delay = self.first_delay_seconds
        tries = 0
        while True:
            tries += 1
            try:
                result = operation()
            except StoreUnavailable as error:
                left = self.seconds - (self.clock() - start)
                if left <= 0:
                    raise
                if tries == 1:
                    _log.warning("%s; trying again for up to %.0f s", error.message, left)
                self.sleep(min(left, delay * (0.5 + self.jitter() / 2)))
                delay = min(2 * delay, self.max_delay_seconds)
            else:
                if tries > 1:
                    _log.warning("the store is back after %.0f s", self.clock() - start)
                return result
