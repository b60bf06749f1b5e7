"""`orchestrator top`: the cluster on one screen, drawn anew whenever something happens.

The server streams; nothing is asked for again and again. One thread takes in what it says, the
main one draws and listens to the keyboard.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import click

from orchestrator.errors import OrchestratorError
from orchestrator.interfaces.cli.connecting import client_for, url_option
from orchestrator.interfaces.cli.lines import Away, lines_option, print_line, told_as_line
from orchestrator.interfaces.cli.output import can_draw
from orchestrator.interfaces.client.watching import json_of

if TYPE_CHECKING:
    from orchestrator.interfaces.cli.topview import Paces, Seen
    from orchestrator.interfaces.client import Client, Overview

LIMIT = 200  # jobs of a kind: more than any screen shows
TICK_SECONDS = 1.0  # clocks on the screen go on while nothing happens
LEAST_PAUSE_SECONDS = 0.05  # between two drawings
LEAVING = (b"q", b"Q", b"\x03", b"\x04")


@click.command()
@click.option("--once", is_flag=True, help="Print one screen and leave; so it is without terminal.")
@click.option("--team", metavar="TEAM", help="Of this team; of others: admins only.")
@url_option
@lines_option
def top(once: bool, team: str | None, url: str | None, as_json: bool) -> int:
    """Show on one screen what runs, who waits and why, and what is used.

    It follows the server's stream and survives its restarts. q or Ctrl-C leaves.
    """
    with told_as_line(as_json), client_for(url) as client:
        if as_json:
            _as_lines(client, team, once=once)
        elif once or not can_draw(sys.stdout):
            _print(client, client.overview(limit=LIMIT, team=team))
        else:
            _Top(client, team).show()
    return 0


def _as_lines(client: Client, team: str | None, *, once: bool) -> None:
    if once:
        print_line(json_of(client.overview(limit=LIMIT, team=team)))
        return
    updates = client.follow_overview(limit=LIMIT, team=team, listener=Away())
    with suppress(KeyboardInterrupt):
        for overview in updates:
            print_line(json_of(overview))


def _print(client: Client, overview: Overview) -> None:
    from orchestrator.interfaces.cli.output import console
    from orchestrator.interfaces.cli.topview import Seen, screen

    out = console()
    seen = Seen(overview, client.connection.url, overview.time, is_live=False)
    out.print(screen(seen, out, out.width, None))


@dataclass
class _Told:
    """What the server has said so far; shared by the two threads."""

    paces: Paces
    overview: Overview | None = None
    heard_at: float = 0.0  # by this machine's clock
    away_since: float | None = None
    error: BaseException | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)


class _Top:
    """The live screen."""

    def __init__(self, client: Client, team: str | None) -> None:
        from orchestrator.interfaces.cli.topview import Paces

        self._client = client
        self._team = team
        self._told = _Told(Paces())
        self._ear, self._bell = os.pipe()
        os.set_blocking(self._bell, False)

    def show(self) -> None:
        """Until the user leaves; raises what ended the stream."""
        from rich.live import Live

        from orchestrator.interfaces.cli.output import console

        out = console()
        threading.Thread(target=self._listen, name="overviews", daemon=True).start()
        with (
            _keys() as keys,
            self._signals(),
            Live(console=out, screen=True, auto_refresh=False) as live,
        ):
            live.update(self._screen(), refresh=True)
            while self._wait(keys):
                live.update(self._screen(), refresh=True)
        if self._told.error is not None:
            raise self._told.error

    # The thread that listens

    def _listen(self) -> None:
        told = self._told
        try:
            updates = self._client.follow_overview(
                limit=LIMIT,
                team=self._team,
                listener=_AwayOnScreen(self),
                patience_seconds=float("inf"),  # somebody looks on, and is told
            )
            for overview in updates:
                with told.lock:
                    told.overview, told.heard_at = overview, time.time()
                    told.paces.take(overview)
                self.ring()
        except BaseException as error:  # noqa: BLE001 (told where the screen was)
            told.error = error
            self.ring()

    def set_away(self, since: float | None) -> None:
        self._told.away_since = since
        self.ring()

    def ring(self, *_: object) -> None:
        """Wakes the thread that draws; a handler of signals may."""
        with suppress(OSError):  # full: it will wake up anyway
            os.write(self._bell, b".")

    # The thread that draws

    def _screen(self) -> Any:
        from orchestrator.interfaces.cli.output import console
        from orchestrator.interfaces.cli.topview import screen

        out = console()
        with self._told.lock:
            return screen(self._seen(), out, out.width, out.height)

    def _seen(self) -> Seen:
        from orchestrator.interfaces.cli import figures
        from orchestrator.interfaces.cli.topview import Seen

        told, now, notice = self._told, time.time(), ""
        if told.away_since is not None:
            notice = f"the server does not answer since {figures.stopwatch(now - told.away_since)}"
            notice += "; asking again"
        # Clocks differ: what is shown as passed is by the server's.
        ahead = told.overview.time - told.heard_at if told.overview is not None else 0.0
        url = self._client.connection.url
        return Seen(told.overview, url, now + ahead, told.paces, notice)

    def _wait(self, keys: int | None) -> bool:
        """Until there is something to draw; false: it is time to leave."""
        sources = [self._ear] if keys is None else [self._ear, keys]
        ready, _, _ = select.select(sources, [], [], TICK_SECONDS)
        if keys is not None and keys in ready and os.read(keys, 1) in (*LEAVING, b""):
            return False
        if self._ear in ready:
            time.sleep(LEAST_PAUSE_SECONDS)  # what comes together is drawn together
            os.read(self._ear, 4096)
        return self._told.error is None

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """A window of another size is drawn at once; Ctrl-C and SIGTERM leave a clean terminal."""

        def leave(*_: object) -> None:
            self._told.error = _Left()
            self.ring()

        wanted = {
            signal.SIGWINCH: self.ring,
            signal.SIGCONT: self.ring,
            signal.SIGINT: leave,
            signal.SIGTERM: leave,
        }
        before = {number: signal.signal(number, handler) for number, handler in wanted.items()}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
        if isinstance(self._told.error, _Left):
            self._told.error = None


class _Left(Exception):
    """The user has left."""


class _AwayOnScreen(Away):
    """On the screen, in place of lines that would disturb it."""

    def __init__(self, top: _Top) -> None:
        super().__init__()
        self._top = top

    def away(self, error: OrchestratorError) -> None:
        self._top.set_away(time.time())

    def back(self) -> None:
        self._top.set_away(None)


@contextmanager
def _keys() -> Iterator[int | None]:
    """The keyboard, key by key and without an echo; None where stdin is none."""
    if not sys.stdin.isatty():
        yield None
        return
    import termios
    import tty

    keys = sys.stdin.fileno()
    before = termios.tcgetattr(keys)
    try:
        tty.setcbreak(keys)
        yield keys
    finally:
        termios.tcsetattr(keys, termios.TCSADRAIN, before)
