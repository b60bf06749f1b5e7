"""Secrets of the operator, by name: known when a job is planned, read when it is launched.

A secret is a variable of the server's own environment (`ORCHESTRATOR_SECRET_HF_TOKEN` is hf-token),
for every team, or a file of the folder `secrets_dir`: `<folder>/<name>` for every team,
`<folder>/<team>/<name>` for one, which comes first. Its value goes into the environment of an
Attempt and into nothing that is written, shown or kept.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from orchestrator.errors import InvalidInput, Problem
from orchestrator.settings import SECRET_PREFIX, Settings
from orchestrator.specs.runtime import secret_variable

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Secrets:
    """Where secrets are looked for; nowhere, unless told."""

    folder: Path | None = None
    environ: Mapping[str, str] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, settings: Settings) -> Secrets:
        return cls(settings.secrets_dir, os.environ)

    def problems(self, names: Sequence[str], team: str) -> Iterator[Problem]:
        """The names of a spec that stand for nothing."""
        for index, name in enumerate(names):
            if self._find(name, team) is None:
                yield Problem(
                    f"the operator provides no secret '{name}'",
                    path=f"runtime.secrets[{index}]",
                    hint=f"it would be {SECRET_PREFIX}{secret_variable(name)} in the environment "
                    "of the server, or a file of its secrets_dir",
                )

    def resolve(self, names: Sequence[str], team: str) -> dict[str, str]:
        """Variable -> value; raises InvalidInput where one is not there any more."""
        if gone := list(self.problems(names, team)):
            raise InvalidInput(gone)
        found = {secret_variable(name): self._find(name, team) for name in names}
        return {variable: value for variable, value in found.items() if value is not None}

    def _find(self, name: str, team: str) -> str | None:
        if self.folder is not None:
            for path in (self.folder / team / name, self.folder / name):
                if path.is_file():
                    return _read(path)
        return self.environ.get(SECRET_PREFIX + secret_variable(name)) or None


def _read(path: Path) -> str | None:
    """What a file holds; None where that cannot be the value of a variable."""
    try:
        value = path.read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        logger.warning("the secret %s cannot be read: %s", path, type(error).__name__)
        return None
    return value if value and "\0" not in value else None
