"""`orchestrator logs`: what the ranks or the driver of a job print, byte for byte as it comes."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from orchestrator.interfaces.cli.connecting import client_for, job_argument, url_option
from orchestrator.interfaces.cli.lines import Away, lines_option, print_line, told_as_line
from orchestrator.interfaces.cli.output import say
from orchestrator.records import Event, JobState

if TYPE_CHECKING:
    from orchestrator.interfaces.client import JobHandle, Update


@click.command()
@job_argument
@click.option("-f", "--follow", is_flag=True, help="Go on until the job has ended.")
@click.option(
    "--rank",
    type=click.IntRange(min=0),
    metavar="N",
    help="Of this rank; absent: of the driver, which starts the gang.",
)
@click.option(
    "--attempt",
    type=click.IntRange(min=1),
    metavar="N",
    help="Of this attempt; absent: the newest, with -f also those that come after it.",
)
@click.option("--tail", type=click.IntRange(min=0), metavar="N", help="Begin at the last N lines.")
@url_option
@lines_option
def logs(
    job: str,
    follow: bool,
    rank: int | None,
    attempt: int | None,
    tail: int | None,
    url: str | None,
    as_json: bool,
) -> int:
    """Print what the ranks or the driver of a job have printed.

    JOB is an id, or a name, which stands for the newest job of that name. With -f it waits for an
    attempt to begin, and goes on across attempts and restarts of the server.
    """
    with told_as_line(as_json), client_for(url) as client:
        handle = client.job(job)
        told = _Told(handle)
        if rank is None and sys.stdout.isatty() and not as_json:
            say("output of the driver; `--rank 0` shows what the first rank prints")
        pieces = handle.logs(rank=rank, follow=follow, attempt=attempt, tail=tail, listener=told)
        found = _print_lines(pieces, told) if as_json else _print_bytes(pieces, told)
        if not found:
            _say_why_nothing(handle, told.number, rank)
    return 0


class _Told(Away):
    """Says on stderr what happens beside the output."""

    def __init__(self, handle: JobHandle) -> None:
        super().__init__(self._tell_beside)
        self._handle = handle
        self.number: int | None = None  # of the Attempt whose output comes
        self.is_mid_line = False
        self._said = ""

    def attempt(self, number: int) -> None:
        if self.number is not None:
            self._tell_beside(f"attempt {number}:")
        self.number = number

    def _tell_beside(self, text: str) -> None:
        """In a terminal the output may be in the middle of a line."""
        say(f"\n{text}" if self.is_mid_line and sys.stdout.isatty() else text)
        self.is_mid_line = False

    def update(self, update: Update) -> None:
        """While no Attempt prints: why."""
        if isinstance(update, Event):
            is_new = (update.attempt or 0) > (self.number or 0)
            if not is_new and update.state in (JobState.QUEUED, JobState.SUSPENDED):
                self._say(f"{self._handle.id} is {update.state}: {update.message or update.reason}")
        elif waits := getattr(update, "waits", ()):
            self._say(f"{self._handle.id} is not running: {waits[0].message}")

    def _say(self, text: str) -> None:
        if text != self._said:
            self._said = text
            self._tell_beside(text)


def _print_bytes(pieces: Iterator[bytes], told: _Told) -> bool:
    """As they are, whatever they are; whether there were any."""
    stream, found = sys.stdout.buffer, False
    for piece in pieces:
        if piece:
            stream.write(piece)
            stream.flush()
            found, told.is_mid_line = True, not piece.endswith(b"\n")
    if told.is_mid_line and sys.stdout.isatty():
        click.echo()  # the prompt belongs on a line of its own
    return found


def _print_lines(pieces: Iterator[bytes], told: _Told) -> bool:
    """A document a line of output; whether there were any."""
    rest, found = b"", False
    for piece in pieces:
        found = found or bool(piece)
        *whole, rest = (rest + piece).split(b"\n")
        for line in whole:
            _print_line(line, told)
    if rest:
        _print_line(rest, told)
    return found


def _print_line(line: bytes, told: _Told) -> None:
    text = line.decode(errors="replace").rstrip("\r")
    print_line({"type": "line", "attempt": told.number, "line": text})


def _say_why_nothing(handle: JobHandle, number: int | None, rank: int | None) -> None:
    job = handle.refresh()
    whose = "its driver" if rank is None else f"rank {rank}"
    if number is None:
        say(f"{job.id} is {job.state} and was never started: there is no output")
        return
    attempts = {attempt.number: attempt for attempt in handle.attempts()}
    found = attempts.get(number)
    if found is not None and found.ended_at is None:
        about = f", phase {found.phase}" if found.phase else ""
        say(f"{whose} has printed nothing so far (attempt {number}{about}); -f waits for it")
        return
    hint = "; `--rank 0` shows what the first rank printed" if rank is None else ""
    reason = "printed nothing, or it ended before its log was kept"
    if rank is None:
        reason = "printed nothing, or its cluster is gone and its log with it"
    say(f"nothing is there of attempt {number}: {whose} {reason}{hint}")
