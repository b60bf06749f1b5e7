"""How errors are told: one renderer for people, one document for programs, one exit code each.

Called by the group for whatever a command raises, and by `run`, whose `--json` document has a shape
of its own. An error that is not an `OrchestratorError` is a defect of ours and shows its traceback.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Sequence
from typing import Any

import click

from orchestrator.errors import InvalidInput, OrchestratorError, Problem
from orchestrator.interfaces.cli.output import print_json, say, shown_path, style

INTERRUPTED = 130  # 128 + SIGINT, what a shell reports for Ctrl-C
DEFECT = "This is a defect of the orchestrator, not of your input: please report the lines above."


def exit_code_of(error: BaseException) -> int:
    if isinstance(error, OrchestratorError | click.ClickException):
        return error.exit_code
    if isinstance(error, click.Abort):  # what click makes of KeyboardInterrupt
        return INTERRUPTED
    return 1


def explain(error: BaseException) -> None:
    """Tell a person, on stderr."""
    if isinstance(error, click.Abort):
        say("Interrupted.")
    elif isinstance(error, click.ClickException):
        error.show(file=sys.stderr)
    elif isinstance(error, InvalidInput):
        for line in problem_lines(error.problems):
            say(line)
        count = len(error.problems)
        say(f"{count} problem{'s' if count > 1 else ''}; nothing was started.")
    elif isinstance(error, OrchestratorError):
        say(f"{_red('error:')} {error.message}")
        if error.hint:
            say(f"  {_dim('hint:')} {error.hint}")
    else:
        say("".join(traceback.format_exception(error)).rstrip())
        say(f"{_red('error:')} {DEFECT}")


def problem_lines(problems: Sequence[Problem]) -> list[str]:
    """One line a problem, `file:line: field: message (hint)`, in the order of the files' lines."""
    return [_problem_line(problem) for problem in in_file_order(problems)]


def in_file_order(problems: Sequence[Problem]) -> list[Problem]:
    """Grouped by file in the order the files first appear, then by line; no line comes last."""
    files = list(dict.fromkeys(problem.file for problem in problems))
    return sorted(
        problems,
        key=lambda problem: (files.index(problem.file), problem.line is None, problem.line or 0),
    )


def print_document(error: BaseException) -> None:
    """Tell a program, on stdout."""
    print_json({"error": error_document(error)})


def error_document(error: BaseException) -> dict[str, Any]:
    """`kind`, `message`, `hint`, `exit_code` and, for wrong input, every problem."""
    problems = in_file_order(error.problems) if isinstance(error, InvalidInput) else []
    hint: str | None = None
    if problems:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        message = f"{problems[0]}{more}"
    elif isinstance(error, OrchestratorError):
        message, hint = error.message, error.hint
    elif isinstance(error, click.ClickException):
        message = error.format_message()
    elif isinstance(error, click.Abort):
        message = "interrupted"
    else:
        message, hint = f"{type(error).__name__}: {error}", DEFECT
    return {
        "kind": _kind(error),
        "message": message,
        "hint": hint,
        "exit_code": exit_code_of(error),
        "problems": [problem_document(problem) for problem in problems],
    }


def problem_document(problem: Problem) -> dict[str, Any]:
    return {
        "path": problem.path,
        "message": problem.message,
        "hint": problem.hint,
        "file": problem.file,
        "line": problem.line,
    }


def _kind(error: BaseException) -> str:
    if isinstance(error, OrchestratorError):
        return type(error).__name__
    if isinstance(error, click.Abort):
        return "Interrupted"
    return "Usage" if isinstance(error, click.ClickException) else "Defect"


def _problem_line(problem: Problem) -> str:
    where = ""
    if problem.file:
        line = f":{problem.line}" if problem.line else ""
        where = style(f"{shown_path(problem.file)}{line}:", bold=True) + " "
    field = style(f"{problem.path}:", fg="cyan") + " " if problem.path else ""
    hint = _dim(f" ({problem.hint})") if problem.hint else ""
    return f"{where}{field}{problem.message}{hint}"


def _red(text: str) -> str:
    return style(text, fg="red", bold=True)


def _dim(text: str) -> str:
    return style(text, dim=True)
