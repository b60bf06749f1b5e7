"""Following a job until it has ended: events and progress, across restarts of the server."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import httpx

from orchestrator.interfaces.client.connection import UNAVAILABLE, Connection
from orchestrator.interfaces.wire import EVENT_STREAM, Progress
from orchestrator.records import Event, Job

PATIENCE_SECONDS = 900.0  # without any word of the server
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.2, 5.0

Update = Event | Progress | Job
"""What a follower is told; a Job is the last of a followed job."""


@dataclass(frozen=True, slots=True)
class Message:
    """One server-sent event."""

    kind: str
    data: str
    id: str | None = None


def messages(answer: httpx.Response) -> Iterator[Message]:
    """The messages of a stream (WHATWG HTML, section 9.2); comments keep the connection alive."""
    kind, id = "message", None
    data: list[str] = []
    for line in answer.iter_lines():
        if not line:
            if data:
                yield Message(kind, "\n".join(data), id)
            kind, data = "message", []
            continue
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "event":
            kind = value
        elif name == "data":
            data.append(value)
        elif name == "id":
            id = value


@dataclass
class Follower:
    """A stream that is taken up again where it was cut off."""

    connection: Connection
    path: str
    after: int | None = None  # of the last event that was seen
    patience_seconds: float = PATIENCE_SECONDS
    monotonic: Callable[[], float] = time.monotonic

    def updates(self) -> Iterator[Update]:
        """Until a job is over; of a team for ever.

        Raises:
            NotFound: The job was deleted.
            ServerUnavailable: The server was silent for longer than patience lasts.
        """
        heard_at, pause = self.monotonic(), FIRST_PAUSE_SECONDS
        while True:
            try:
                for update in self._connected():
                    heard_at, pause = self.monotonic(), FIRST_PAUSE_SECONDS
                    yield update
                    if isinstance(update, Job):
                        return
                heard_at = self.monotonic()  # it ended the stream: ask again
            except UNAVAILABLE:
                if self.monotonic() - heard_at > self.patience_seconds:
                    raise
            self.connection.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)

    def _connected(self) -> Iterator[Update]:
        headers = {"Accept": EVENT_STREAM}
        if self.after is not None:
            headers["Last-Event-ID"] = str(self.after)
        with self.connection.stream(self.path, headers, {}) as answer:
            for message in messages(answer):
                if message.kind == "event":
                    event = Event.model_validate_json(message.data)
                    self.after = event.id
                    yield event
                elif message.kind == "progress":
                    yield Progress.model_validate_json(message.data)
                elif message.kind == "end":
                    yield Job.model_validate_json(message.data)
