"""User code on a worker: brought here by its digest, importable in the ranks, its errors explained.

Called by the ranks alone. The driver of a gang and the control plane never import any of it.
"""

from __future__ import annotations

import importlib
import logging
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from orchestrator.errors import OrchestratorError, StoreError, UserCodeError, UserError
from orchestrator.inspect.code import Code
from orchestrator.inspect.code_checks import module_file
from orchestrator.records import Launch
from orchestrator.storage.code import CodeStore, unpack
from orchestrator.storage.objectstore import open_store
from orchestrator.worker.folders import STORE_RETRY_SECONDS
from orchestrator.worker.gang import Gang
from orchestrator.worker.training.failures import is_lost_peer

logger = logging.getLogger(__name__)

FOLDER = "code"

UserFunction = Callable[..., Any]


@dataclass(frozen=True, slots=True)
class UserCode:
    """The code of a job, unpacked on this node."""

    folder: Path
    code: Code

    def function(self, entry: str, field: str) -> UserFunction:
        """The function of an entry point; what it raises becomes a UserCodeError that says where.

        Raises UserCodeError where its module cannot be imported or holds no such function.

        Args:
            entry: module:function.
            field: Of the spec, which names it.
        """
        module_name, _, name = entry.partition(":")
        what = f"{field}: {entry}"
        with self.errors(what):
            module = importlib.import_module(module_name)
        self._check_ours(module, module_name, what)
        function = getattr(module, name, None)
        if not callable(function):
            raise UserCodeError(f"{what}: {module_name} holds no function {name}")

        def call(*arguments: Any) -> Any:
            with self.errors(what):
                return function(*arguments)

        return call

    @contextmanager
    def errors(self, what: str, *, may_exit: bool = False) -> Iterator[None]:
        """Turns what user code raises into an error for whoever wrote it.

        What is not of its making passes: memory that ran out, a peer that died, a store that is
        away. Each has a remedy of its own.

        Args:
            what: Field of the spec and what it names.
            may_exit: Whether `sys.exit` is a way to end, as it is for a script.
        """
        try:
            yield
        except BaseException as error:
            if _passes(error) or (may_exit and isinstance(error, SystemExit)):
                raise
            if isinstance(error, UserError):  # it used what we give it in a wrong way
                message = f"{what}: {error.message}{self._place(error)}"
                raise UserCodeError(message, hint=error.hint) from error
            logger.error("%s failed", what, exc_info=error)
            raise UserCodeError(
                f"{what} raised {_described(error)}{self._place(error)}",
                hint="correct the code; the traceback is in the log of this rank",
            ) from error

    def _place(self, error: BaseException) -> str:
        """Where in the user's code it came from."""
        if isinstance(error, SyntaxError) and error.filename:
            places = [(error.filename, error.lineno)]
        else:
            frames = traceback.extract_tb(error.__traceback__)
            places = [(frame.filename, frame.lineno) for frame in frames]
        for file, line in reversed(places):
            if Path(file).is_relative_to(self.folder):
                return f" ({Path(file).relative_to(self.folder)}, line {line})"
        return ""

    def _check_ours(self, module: ModuleType, name: str, what: str) -> None:
        expected = module_file(self.code.files, name)
        found = getattr(module, "__file__", None)
        if expected is None or found is None or Path(found) != self.folder / expected:
            raise UserCodeError(
                f"{what}: the name {name} is taken by {found or 'a module of Python itself'}",
                hint="rename your module",
            )


def _passes(error: BaseException) -> bool:
    """Whether it is not of the code's making."""
    if isinstance(error, OrchestratorError):
        return isinstance(error, StoreError) or not isinstance(error, UserError)
    is_memory = isinstance(error, MemoryError) or "out of memory" in str(error).lower()
    return is_memory or isinstance(error, KeyboardInterrupt) or is_lost_peer(error)


def _described(error: BaseException) -> str:
    text = str(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def bring_code(launch: Launch, gang: Gang, scratch: Path) -> UserCode | None:
    """Unpacks the user's code on each node and makes it importable in this process.

    The archive is compared with its digest by every rank, and unpacked anew for every Attempt:
    what an earlier one did to its files is gone.
    """
    sha256 = launch.identity.code
    if sha256 is None:
        return None
    folder = scratch / FOLDER
    store = open_store(launch.store, retry_seconds=STORE_RETRY_SECONDS)
    code = CodeStore(store).get(sha256)
    if gang.local_rank == 0:
        unpack(code, folder)
    gang.barrier()
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    return UserCode(folder, code)
