"""User code on a worker: brought here by its digest, importable in the ranks, its errors explained.

Called by the ranks alone. The driver of a gang and the control plane never import any of it.
"""

from __future__ import annotations

import importlib
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from orchestrator.errors import OrchestratorError, UserCodeError
from orchestrator.inspect.code import Code
from orchestrator.inspect.code_checks import module_file
from orchestrator.records import Launch
from orchestrator.storage.code import CodeStore, unpack
from orchestrator.storage.objectstore import open_store
from orchestrator.worker.folders import STORE_RETRY_SECONDS
from orchestrator.worker.gang import Gang
from orchestrator.worker.training.failures import is_lost_peer

FOLDER = "code"

UserFunction = Callable[..., Any]


@dataclass(frozen=True, slots=True)
class UserCode:
    """The code of a job, unpacked on this node."""

    folder: Path
    code: Code

    def function(self, entry: str) -> UserFunction:
        """The function of an entry point; what it raises becomes a UserCodeError that says where.

        Raises UserCodeError where its module cannot be imported or holds no such function.
        """
        module_name, _, name = entry.partition(":")
        with self.errors(entry):
            module = importlib.import_module(module_name)
        self._check_ours(module, module_name, entry)
        function = getattr(module, name, None)
        if not callable(function):
            raise UserCodeError(f"{entry}: {module_name} holds no function {name}")

        def call(*arguments: Any) -> Any:
            with self.errors(entry):
                return function(*arguments)

        return call

    @contextmanager
    def errors(self, what: str) -> Iterator[None]:
        """Turns what user code raises into an error for whoever wrote it.

        What is not of its making passes: memory that ran out, a peer that died, a store that is
        away. Each has a remedy of its own.
        """
        try:
            yield
        except (OrchestratorError, MemoryError):
            raise
        except Exception as error:
            if is_lost_peer(error) or "out of memory" in str(error).lower():
                raise
            raise UserCodeError(
                f"{what} raised {type(error).__name__}: {error}{self._place(error)}",
                hint="correct the code; the traceback is in the log of this rank",
            ) from error

    def _place(self, error: Exception) -> str:
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

    def _check_ours(self, module: ModuleType, name: str, entry: str) -> None:
        expected = module_file(self.code.files, name)
        found = getattr(module, "__file__", None)
        if expected is None or found is None or Path(found) != self.folder / expected:
            raise UserCodeError(
                f"{entry}: the name {name} is taken by {found or 'a module of Python itself'}",
                hint="rename your module",
            )


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
