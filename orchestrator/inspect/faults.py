"""What is wrong with single rows, gathered by kind: one Problem names the first line and counts
the others, since a file with one bad row often has thousands.

Used by the readers in `inspect.formats`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from orchestrator.errors import InvalidInput, Problem


@dataclass(frozen=True, slots=True)
class RowFault:
    """A kind of fault in a column: the first row (from 0) that has it, and how many have it."""

    message: str
    hint: str
    row: int
    count: int


@dataclass(slots=True)
class _Kind:
    hint: str
    line: int | None
    count: int = 0


@dataclass(slots=True)
class Faults:
    """Gathers the faults of one file. `place` is the source's path in the spec."""

    place: str
    shown: str
    _kinds: dict[str, _Kind] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self._kinds)

    def add(self, message: str, hint: str, line: int | None, count: int = 1) -> None:
        self._kinds.setdefault(message, _Kind(hint, line)).count += count

    def problems(self) -> list[Problem]:
        found = []
        for message, kind in self._kinds.items():
            more = kind.count - 1
            also = f" (and in {more} more {'rows' if more > 1 else 'row'})" if more else ""
            text = message + also
            problem = Problem(text, self.place, kind.hint, file=self.shown, line=kind.line)
            found.append(problem)
        return found

    def raise_if_any(self) -> None:
        if self:
            raise InvalidInput(self.problems())
