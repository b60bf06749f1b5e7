"""A process between what a rank prints and its log: secrets are hidden, and there is an end.

`worker.output` starts it by its path, `python -I -S output_filter.py VARIABLE…`, with the variables
that hold secrets. It is a process of its own so that what children and native code print passes it
too, and so that the last words of a rank that dies are kept. Nothing but Python's own library is
imported here. `worker.redaction` hides with the same rules what is not printed.
"""

from __future__ import annotations

import json
import os
import re
import signal
import sys
from collections.abc import Iterable
from urllib.parse import quote

MIN_LENGTH = 4  # shorter values would hide every other word, and nothing
HIDDEN = b"***"
MAX_BYTES = 100_000_000  # of one rank's output; what follows is counted, and its end kept
TAIL_BYTES = 64_000
_READ_BYTES = 65_536


def hidden_parts(values: Iterable[str]) -> list[bytes]:
    """What is hidden of secret values, longest first.

    Each value as it is, line by line (a key is printed so), and as URLs and JSON spell it.
    """
    lines = {part.strip() for value in values for part in (value, *value.splitlines())}
    spelled = {part for line in lines for part in (line, quote(line, safe=""), _in_json(line))}
    parts = {part.encode("utf-8", "surrogateescape") for part in spelled if len(part) >= MIN_LENGTH}
    return sorted(parts, key=lambda part: (-len(part), part))


def _in_json(text: str) -> str:
    return json.dumps(text)[1:-1]


class Hiding:
    """Hides parts in a stream of bytes; what may be the beginning of one waits for the rest."""

    def __init__(self, parts: list[bytes]) -> None:
        self._parts = parts
        self._any = re.compile(b"|".join(map(re.escape, parts))) if parts else None
        self._held = b""

    def feed(self, data: bytes) -> bytes:
        if self._any is None:
            return data
        text = self._held + data
        until = len(text) - self._begun(text)
        shown, place = [], 0
        is_there = any(part in text for part in self._parts)  # far faster than the search below
        for found in self._any.finditer(text) if is_there else ():
            if found.start() >= until:
                break
            shown += [text[place : found.start()], HIDDEN]
            place = found.end()
        until = max(until, place)
        self._held = text[until:]
        return b"".join([*shown, text[place:until]])

    def end(self) -> bytes:
        """What still waits."""
        held, self._held = self._held, b""
        return self._any.sub(HIDDEN, held) if self._any is not None else held

    def _begun(self, text: bytes) -> int:
        """How much of the end may be the beginning of a part."""
        longest = 0
        for part in self._parts:
            place = text.find(part[:1], max(len(text) - len(part) + 1, 0))
            while place >= 0:
                if part.startswith(text[place:]):
                    longest = max(longest, len(text) - place)
                    break
                place = text.find(part[:1], place + 1)
        return longest


class Limit:
    """Lets so much pass; of the rest the end is kept, and how much is missing is told."""

    def __init__(self, max_bytes: int = MAX_BYTES, tail_bytes: int = TAIL_BYTES) -> None:
        self._left = max_bytes
        self._tail_bytes = tail_bytes
        self._tail = b""
        self._dropped = 0

    def feed(self, data: bytes) -> bytes:
        passed, rest = data[: self._left], data[self._left :]
        self._left -= len(passed)
        if rest:
            if not self._dropped and not self._tail:
                passed += b"\n[the output of this rank is too long: only its end follows]\n"
            kept = self._tail + rest
            self._tail = kept[-self._tail_bytes :]
            self._dropped += len(kept) - len(self._tail)
        return passed

    def end(self) -> bytes:
        if not self._dropped:
            return self._tail
        return b"[%d bytes are left out]\n" % self._dropped + self._tail


def main() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # it ends with the rank, which has more to say
    hiding = Hiding(hidden_parts(os.environ.get(name, "") for name in sys.argv[1:]))
    limit = Limit()
    while data := os.read(0, _READ_BYTES):
        _write(limit.feed(hiding.feed(data)))
    _write(limit.feed(hiding.end()) + limit.end())


def _write(data: bytes) -> None:
    while data:
        try:
            data = data[os.write(1, data) :]
        except OSError:  # a full disk: the rank must not wait for its log
            return


if __name__ == "__main__":
    main()
