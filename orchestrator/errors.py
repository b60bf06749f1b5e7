"""The one exception tree of the project.

Every error a person can meet says what is wrong, where (`path`, the field of the spec) and what to
do (`hint`). The class decides the exit code of the CLI; everything that is not an
`OrchestratorError` is a defect of ours and shows its traceback.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with what a user gave us."""

    message: str
    path: str | None = None  # field of the spec without the leading `spec.`, e.g. `training.epochs`
    hint: str | None = None  # what to write or do instead
    file: str | None = None  # the spec file, or the data file the problem is in
    line: int | None = None  # 1-based line of `file`

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}: " if self.file and self.line else ""
        field = f"{self.path}: " if self.path else ""
        remedy = f" ({self.hint})" if self.hint else ""
        return f"{where}{field}{self.message}{remedy}"


class OrchestratorError(Exception):
    """Base of all errors that are meant for a reader."""

    exit_code: int = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def before_the_start(self) -> Self:
        """The same error, where nothing had started yet: the exit code is that of bad input."""
        self.exit_code = UserError.exit_code
        return self

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message


class UserError(OrchestratorError):
    """The request is wrong and can be known to be wrong before anything starts."""

    exit_code: int = 2


class InvalidInput(UserError):
    """A spec or its data are wrong; carries every problem found, not only the first."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        assert problems, "InvalidInput needs at least one problem"
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class UserCodeError(UserError):
    """Code that a user brought along raised, or gave something that cannot be used."""


class PlanRefused(UserError):
    """The plan says the job cannot fit or cannot work."""

    def __init__(
        self, message: str, *, hint: str | None = None, problems: Sequence[Problem] = ()
    ) -> None:
        super().__init__(message, hint=hint)
        self.problems = tuple(problems)


class AlreadyRunning(UserError):
    """The same run is live in another process."""


class NotFound(UserError):
    """A model, version, alias, job or file that was named does not exist."""


class MissingExtra(UserError):
    """A part of the package is not installed; the hint names the pip line."""


class SettingsError(UserError):
    """An operator's setting (environment or TOML) is wrong."""


class Conflict(UserError):
    """The request contradicts what is there: a key or a name is taken, a queue is in use."""


class Unauthenticated(UserError):
    """Nobody is known by the token that came with a request, or none came."""


class Forbidden(UserError):
    """Whoever asks is known, and may not do this."""


class ServerUnavailable(OrchestratorError):
    """A server of ours cannot be reached or cannot answer now; trying again later may help."""


class DatabaseUnavailable(OrchestratorError):
    """The control plane's rows cannot be read or written now; trying again later may help."""


class JobFailed(OrchestratorError):
    """The job started and did not succeed."""


class LaunchFailed(OrchestratorError):
    """A backend could not start an Attempt (Ray did not come up, a port is taken)."""


class BackendUnavailable(OrchestratorError):
    """A place where Attempts run cannot be asked now; what runs there goes on."""


class VersionMismatch(OrchestratorError):
    """Server and worker are of different versions, or a node lacks what the worker needs."""


class IntegrityError(OrchestratorError):
    """Stored bytes are not the bytes their manifest promises."""


class StoreError(OrchestratorError):
    """An object store did not do what was asked."""


class StoreUnavailable(StoreError):
    """The store cannot be reached now; trying again later may help."""


class StoreDenied(StoreError, UserError):
    """Credentials are missing or wrong, or the location may not be written."""

    exit_code: int = 2


class StoreFull(StoreError):
    """No space is left where the store keeps its bytes."""


class ObjectNotFound(StoreError):
    """The key does not exist."""


class ObjectExists(StoreError):
    """A create-only write met an existing key."""


class TrainingDiverged(JobFailed):
    """The loss became NaN or infinite."""
