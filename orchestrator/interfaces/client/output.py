"""What the ranks and the driver of a job print, as bytes that come while it goes on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from orchestrator.interfaces.client.connection import UNAVAILABLE, Connection
from orchestrator.interfaces.client.watching import Follower, Listener, Patience
from orchestrator.interfaces.wire import Progress
from orchestrator.records import Attempt, AttemptState, Job


@dataclass(frozen=True)
class Output:
    """Whose output is read, and from where."""

    connection: Connection
    job: str  # its path in the API
    rank: int | None = None  # None: the driver's
    attempt: int | None = None  # None: the newest
    tail: int | None = None  # begin at the last lines
    listener: Listener = field(default_factory=Listener)

    def so_far(self) -> Iterator[bytes]:
        """What has been printed. Raises NotFound where no Attempt has begun."""
        query = {"rank": self.rank, "attempt": self.attempt, "tail": self.tail}
        with self.connection.stream(f"{self.job}/logs", {}, query) as answer:
            self.listener.attempt(_attempt_of(answer.headers.get("x-attempt")))
            yield from answer.iter_bytes()

    def to_the_end(self) -> Iterator[bytes]:
        """Of one Attempt if it was named; else of the newest and those that follow it."""
        if self.attempt is not None:
            yield from self._of_attempt(self.attempt)
            return
        output, number = self, self._next(0)
        while number is not None:
            yield from output._of_attempt(number)
            output, number = replace(self, tail=None), self._next(number)

    def _of_attempt(self, number: int) -> Iterator[bytes]:
        """Until the Attempt has ended, wherever the connection breaks in between."""
        offset: int | None = None
        patience = Patience(self.connection, self.listener)
        self.listener.attempt(number)
        while True:
            query = {"rank": self.rank, "attempt": number, "follow": True, "offset": offset or 0}
            if offset is None:
                query["tail"] = self.tail
            try:
                with self.connection.stream(f"{self.job}/logs", {}, query) as answer:
                    patience.heard()
                    if offset is None:
                        offset = int(answer.headers.get("x-offset") or 0)
                    for piece in answer.iter_bytes():
                        patience.heard()
                        offset += len(piece)
                        yield piece
                if self._is_over(number):
                    return
            except UNAVAILABLE as error:
                patience.lost(error)
            patience.rest()

    def _is_over(self, number: int) -> bool:
        attempts = self.connection.get(f"{self.job}/attempts", list[Attempt])
        known = [a for a in attempts if a.number == number]
        return not known or known[0].state is AttemptState.ENDED

    def _next(self, number: int) -> int | None:
        """The newest Attempt, once it is another one; None: the job ends without."""
        follower = Follower(
            self.connection, f"{self.job}/events", query={"last": 1}, listener=self.listener
        )
        for update in follower.updates():
            if isinstance(update, Progress) and update.attempt > number:
                return update.attempt
            if not isinstance(update, Job):
                self.listener.update(update)
        return None


def _attempt_of(header: str | None) -> int:
    return int(header or 0)
