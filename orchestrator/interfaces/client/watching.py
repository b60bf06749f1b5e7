"""Following what the server tells, across its restarts, until it has ended; nothing is missed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx
from pydantic import BaseModel

from orchestrator.errors import OrchestratorError
from orchestrator.interfaces.client.connection import UNAVAILABLE, Connection
from orchestrator.interfaces.wire import EVENT_STREAM, Overview, Progress, Waiting
from orchestrator.records import Event, Job

PATIENCE_SECONDS = 900.0  # without any word of the server
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.2, 2.0

Update = Event | Progress | Waiting | Job
"""What a follower is told; a Job is the last of a followed job."""

_UPDATES: Mapping[str, type[Event | Progress | Waiting | Job]] = {
    "event": Event,
    "progress": Progress,
    "waits": Waiting,
    "end": Job,
}


class Listener:
    """Told what happens beside what is followed. Override what is of interest."""

    def away(self, error: OrchestratorError) -> None:
        """The server does not answer; it is asked again."""

    def back(self) -> None:
        """It answers again."""

    def update(self, update: Update) -> None:
        """Something happened to a job whose output is waited for."""

    def attempt(self, number: int) -> None:
        """The output that comes now is this Attempt's."""


@dataclass(frozen=True, slots=True)
class Message:
    """One server-sent event; without data it tells only where to go on."""

    kind: str
    data: str
    id: str | None = None


def messages(answer: httpx.Response) -> Iterator[Message]:
    """The messages of a stream (WHATWG HTML, section 9.2); comments keep the connection alive."""
    kind, id = "message", None
    data: list[str] = []
    for line in answer.iter_lines():
        if not line:
            if data or id is not None:
                yield Message(kind, "\n".join(data), id)
            kind, data, id = "message", [], None
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
class Patience:
    """How long a server may be silent, and how often it is asked meanwhile."""

    connection: Connection
    listener: Listener = field(default_factory=Listener)
    seconds: float = PATIENCE_SECONDS
    monotonic: Callable[[], float] = time.monotonic
    _heard_at: float = field(default=0.0, init=False)
    _pause: float = field(default=FIRST_PAUSE_SECONDS, init=False)
    _is_away: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        self._heard_at = self.monotonic()

    def heard(self) -> None:
        """The server has said something."""
        if self._is_away:
            self._is_away = False
            self.listener.back()
        self._heard_at, self._pause = self.monotonic(), FIRST_PAUSE_SECONDS

    def lost(self, error: OrchestratorError) -> None:
        """It did not answer: raises the error where it has been so for too long."""
        if self.monotonic() - self._heard_at > self.seconds:
            raise error
        if not self._is_away:
            self._is_away = True
            self.listener.away(error)

    def rest(self) -> None:
        """Before it is asked again."""
        self.connection.sleep(self._pause)
        self._pause = min(2 * self._pause, LONGEST_PAUSE_SECONDS)


@dataclass
class Follower:
    """A stream that is taken up again where it was cut off."""

    connection: Connection
    path: str
    after: int | None = None  # of the last event that was seen
    query: Mapping[str, Any] = field(default_factory=dict)
    listener: Listener = field(default_factory=Listener)
    patience_seconds: float = PATIENCE_SECONDS
    monotonic: Callable[[], float] = time.monotonic

    def updates(self) -> Iterator[Update]:
        """Until a job is over; of a team for ever.

        Raises:
            NotFound: The job was deleted.
            ServerUnavailable: The server was silent for longer than patience lasts.
        """
        for message in self._messages():
            kind = _UPDATES.get(message.kind)
            if kind is not None and message.data:
                yield kind.model_validate_json(message.data)
                if kind is Job:
                    return

    def overviews(self) -> Iterator[Overview]:
        """Without end, each time something has changed; raises as `updates` does."""
        for message in self._messages():
            if message.kind == "overview":
                yield Overview.model_validate_json(message.data)

    def _messages(self) -> Iterator[Message]:
        patience = Patience(self.connection, self.listener, self.patience_seconds, self.monotonic)
        while True:
            try:
                for message in self._connected():
                    patience.heard()
                    if message.id is not None:
                        self.after = int(message.id)
                    yield message
                patience.heard()  # it ended the stream: ask again
            except UNAVAILABLE as error:
                patience.lost(error)
            patience.rest()

    def _connected(self) -> Iterator[Message]:
        headers, query = {"Accept": EVENT_STREAM}, dict(self.query)
        if self.after is not None:
            headers["Last-Event-ID"] = str(self.after)
        with self.connection.stream(self.path, headers, query) as answer:
            yield from messages(answer)


def json_of(update: BaseModel) -> dict[str, Any]:
    """An update as a document for programs: what it is, and its fields."""
    kinds: dict[type[BaseModel], str] = {kind: name for name, kind in _UPDATES.items()}
    kinds[Overview] = "overview"
    name = next(name for kind, name in kinds.items() if isinstance(update, kind))
    return {"type": name, **update.model_dump(mode="json")}
