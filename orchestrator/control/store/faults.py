"""What a driver's error means to us: gone for now, wrong, or a defect of ours.

Called by `Database` around every transaction. What is not told apart here is raised as it came.
"""

from __future__ import annotations

from sqlalchemy import exc

from orchestrator.errors import (
    Conflict,
    DatabaseUnavailable,
    OrchestratorError,
    SettingsError,
    UserError,
)

_SQLITE_GONE = {
    5: "is locked by another process",
    6: "is locked by another process",
    8: "may not be written",
    10: "cannot be read or written",
    13: "has no space left",
    14: "cannot be opened",
    15: "is locked by another process",
}
_SQLITE_CONSTRAINT = 19
_SQLITE_DAMAGED = {11: "is damaged", 26: "is not an SQLite database"}

_FOREVER = ("42501",)  # insufficient_privilege
# Told as other kinds of error, but they pass: the server became read-only (it is a standby now),
# or ended a transaction that was idle for too long.
_PASSING = ("25006", "25P03")


def translate(error: exc.SQLAlchemyError, where: str) -> OrchestratorError | None:
    """The error a reader gets for it; None: a defect, to be raised as it is.

    Args:
        where: The database, without its password.
    """
    if isinstance(error, exc.TimeoutError):  # of the pool
        return DatabaseUnavailable(f"all connections to {where} are in use")
    if not isinstance(error, exc.DBAPIError):
        return None
    if isinstance(error, exc.DataError):
        return UserError(f"a value cannot be stored: {_first_line(error)}")
    code: int | None = getattr(error.orig, "sqlite_errorcode", None)
    return _postgresql(error, where) if code is None else _sqlite(error, code & 0xFF, where)


def _sqlite(error: exc.DBAPIError, code: int, where: str) -> OrchestratorError | None:
    if code in _SQLITE_GONE:
        return DatabaseUnavailable(f"{where} {_SQLITE_GONE[code]}")
    if code in _SQLITE_DAMAGED:
        return SettingsError(f"{where} {_SQLITE_DAMAGED[code]}", hint="restore a backup of it")
    if code == _SQLITE_CONSTRAINT:
        return Conflict(f"it contradicts what is stored: {_first_line(error)}")
    return None


def _postgresql(error: exc.DBAPIError, where: str) -> OrchestratorError | None:
    state: str | None = getattr(error.orig, "sqlstate", None)
    if state in _FOREVER:
        return SettingsError(f"{where}: {_first_line(error)}", hint="grant it to this user")
    if isinstance(error, exc.IntegrityError):
        return Conflict(f"it contradicts what is stored: {_first_line(error)}")
    if (
        error.connection_invalidated
        or isinstance(error, exc.OperationalError | exc.InterfaceError)
        or state in _PASSING
    ):
        return DatabaseUnavailable(f"{where} is unavailable: {_first_line(error)}")
    return None


def _first_line(error: exc.DBAPIError) -> str:
    return str(error.orig).partition("\n")[0]
