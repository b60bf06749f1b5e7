"""Keeps the values of secrets out of what a rank reports, publishes and leaves behind.

Used by `training.failures`, the Reporter and the session of a script. What a rank prints passes
`output_filter`, whose rules these are.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from orchestrator.records import Outcome
from orchestrator.specs import RuntimeSpec
from orchestrator.specs.runtime import secret_variable
from orchestrator.worker.output_filter import HIDDEN, hidden_parts

_ENCODING = "utf-8"
_READ_BYTES = 1 << 20


class Redaction:
    """Hides values in texts; without any it leaves everything as it is."""

    def __init__(self, values: tuple[str, ...] = ()) -> None:
        self._parts = hidden_parts(values)
        self._any = re.compile(b"|".join(map(re.escape, self._parts))) if self._parts else None

    @classmethod
    def of(cls, runtime: RuntimeSpec, environ: Mapping[str, str] = os.environ) -> Redaction:
        """Of the secrets that a job names, as this process has them."""
        found = (environ.get(secret_variable(name)) for name in runtime.secrets)
        return cls(tuple(value for value in found if value))

    def __bool__(self) -> bool:
        return self._any is not None

    def text(self, text: str) -> str:
        if self._any is None:
            return text
        shown = self._any.sub(HIDDEN, text.encode(_ENCODING, "surrogateescape"))
        return shown.decode(_ENCODING, "surrogateescape")

    def outcome(self, outcome: Outcome) -> Outcome:
        """The outcome with its words redacted; its figures are numbers."""
        words = {"message": outcome.message, "hint": outcome.hint}
        return outcome.model_copy(
            update={name: self.text(word) for name, word in words.items() if word is not None}
        )

    def is_in(self, path: Path) -> bool:
        """Whether a file holds a value."""
        if self._any is None:
            return False
        margin = len(self._parts[0]) - 1
        text = b""
        with path.open("rb") as stream:
            while data := stream.read(_READ_BYTES):
                text = text[-margin:] + data
                if self._any.search(text):
                    return True
        return False
