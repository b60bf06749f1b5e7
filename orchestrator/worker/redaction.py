"""Keeps the values of secrets out of what a rank prints, reports and leaves behind.

Used by `training.failures`, which begins it before any user code runs, and by the Reporter, which
sends and keeps the rank's output. A value is replaced by as many asterisks as it has bytes, so that
places in a log stay what they are.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from orchestrator.records import Outcome
from orchestrator.specs import RuntimeSpec
from orchestrator.specs.runtime import secret_variable

MIN_LENGTH = 4  # shorter values would hide every other word, and nothing
_CHUNK_BYTES = 1_000_000
_ENCODING = "utf-8"


class Redaction:
    """Hides values in texts; without any it leaves everything as it is."""

    def __init__(self, values: tuple[str, ...] = ()) -> None:
        # A value of several lines (a key, say) may be printed line by line.
        parts = {part.strip() for value in values for part in (value, *value.splitlines())}
        hidden = (part for part in parts if len(part) >= MIN_LENGTH)
        self._values = sorted((part.encode(_ENCODING) for part in hidden), key=len, reverse=True)

    @classmethod
    def of(cls, runtime: RuntimeSpec, environ: Mapping[str, str] = os.environ) -> Redaction:
        """Of the secrets that a job names, as this process has them."""
        found = (environ.get(secret_variable(name)) for name in runtime.secrets)
        return cls(tuple(value for value in found if value))

    def __bool__(self) -> bool:
        return bool(self._values)

    def octets(self, data: bytes) -> bytes:
        """As many bytes as there were."""
        for value in self._values:
            data = data.replace(value, b"*" * len(value))
        return data

    def text(self, text: str) -> str:
        if not self._values:
            return text
        return self.octets(text.encode(_ENCODING, "surrogateescape")).decode(
            _ENCODING, "surrogateescape"
        )

    def outcome(self, outcome: Outcome) -> Outcome:
        """The outcome with its words redacted; its figures are numbers."""
        if not self._values:
            return outcome
        words = {"message": outcome.message, "hint": outcome.hint}
        return outcome.model_copy(
            update={name: self.text(word) for name, word in words.items() if word is not None}
        )

    def of_piece(self, path: Path, start: int, size: int) -> bytes:
        """A piece of a file; values that reach over its edges are hidden in it too."""
        first = max(start - self._margin, 0)
        with path.open("rb") as stream:
            stream.seek(first)
            data = self.octets(stream.read(start - first + size + self._margin))
        return data[start - first :][:size]

    @contextmanager
    def of_file(self, path: Path) -> Iterator[Path]:
        """The file itself where nothing is to be hidden, else a copy for as long as it lasts."""
        if not self._values:
            yield path
            return
        with tempfile.NamedTemporaryFile() as copy:
            place, size = 0, path.stat().st_size
            while place < size:
                copy.write(self.of_piece(path, place, min(_CHUNK_BYTES, size - place)))
                place += _CHUNK_BYTES
            copy.flush()
            yield Path(copy.name)

    @property
    def _margin(self) -> int:
        """How far a value may reach over the edge of a piece of text, in bytes."""
        return len(self._values[0]) - 1 if self._values else 0

    @contextmanager
    def of_output(self) -> Iterator[None]:
        """Within it, what this process prints through Python is redacted first."""
        if not self._values:
            yield
            return
        before = sys.stdout, sys.stderr
        streams: Any = (_Redacted(before[0], self), _Redacted(before[1], self))
        sys.stdout, sys.stderr = streams
        try:
            yield
        finally:
            sys.stdout, sys.stderr = before


class _Redacted:
    """A text stream before another one; all but writing is the other's."""

    def __init__(self, stream: TextIO, redaction: Redaction) -> None:
        self._stream = stream
        self._redaction = redaction

    def write(self, text: str) -> int:
        self._stream.write(self._redaction.text(text))
        return len(text)

    def writelines(self, lines: list[str]) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
