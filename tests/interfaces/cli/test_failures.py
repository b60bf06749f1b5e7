import click
import pytest

from orchestrator.errors import (
    InvalidInput,
    JobFailed,
    NotFound,
    PlanRefused,
    Problem,
    StoreDenied,
    StoreUnavailable,
)
from orchestrator.interfaces.cli import failures

PROBLEMS = (
    Problem("the file does not exist", path="data.domains.camera.train[0].path", file="b.yaml"),
    Problem("unknown field", path="training.epoch", hint="epochs", file="a.yaml", line=9),
    Problem("3 columns are missing", file="b.yaml", line=4),
    Problem("must be above 0", path="training.epochs", file="a.yaml", line=2),
)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (InvalidInput(PROBLEMS), 2),
        (PlanRefused("needs 3 GPUs"), 2),
        (NotFound("no model"), 2),
        (StoreDenied("wrong key"), 2),
        (StoreUnavailable("no route"), 1),
        (JobFailed("rank 1 died"), 1),
        (click.UsageError("no such option"), 2),
        (click.Abort(), 130),
        (ZeroDivisionError("division by zero"), 1),
    ],
)
def test_exit_codes(error, code):
    assert failures.exit_code_of(error) == code


def test_wrong_input_is_told_by_file_and_line(capsys):
    failures.explain(InvalidInput(PROBLEMS))
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.splitlines() == [
        "b.yaml:4: 3 columns are missing",
        "b.yaml: data.domains.camera.train[0].path: the file does not exist",
        "a.yaml:2: training.epochs: must be above 0",
        "a.yaml:9: training.epoch: unknown field (epochs)",
        "4 problems; nothing was started.",
    ]


def test_paths_below_the_current_folder_are_shown_short(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    failures.explain(InvalidInput([Problem("empty", file=str(tmp_path / "jobs/a.yaml"), line=1)]))
    assert capsys.readouterr().err.splitlines() == [
        "jobs/a.yaml:1: empty",
        "1 problem; nothing was started.",
    ]


def test_an_error_has_its_hint_on_a_line_of_its_own(capsys):
    failures.explain(NotFound("there is no model `a`", hint="orchestrator models lists them"))
    assert capsys.readouterr().err.splitlines() == [
        "error: there is no model `a`",
        "  hint: orchestrator models lists them",
    ]


def test_a_defect_shows_its_traceback(capsys):
    def culprit():
        raise ZeroDivisionError("division by zero")

    try:
        culprit()
    except ZeroDivisionError as error:
        failures.explain(error)
    told = capsys.readouterr().err
    assert "in culprit" in told
    assert "defect of the orchestrator" in told


def test_the_document_of_wrong_input_has_every_problem():
    document = failures.error_document(InvalidInput(PROBLEMS[1:2]))
    assert document == {
        "kind": "InvalidInput",
        "message": "a.yaml:9: training.epoch: unknown field (epochs)",
        "hint": None,
        "exit_code": 2,
        "problems": [
            {
                "path": "training.epoch",
                "message": "unknown field",
                "hint": "epochs",
                "file": "a.yaml",
                "line": 9,
            }
        ],
    }


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (NotFound("no model", hint="look"), "NotFound", "no model"),
        (click.UsageError("no such option"), "Usage", "no such option"),
        (click.Abort(), "Interrupted", "interrupted"),
        (KeyError("epochs"), "Defect", "KeyError: 'epochs'"),
    ],
)
def test_documents_of_other_errors(error, kind, message):
    document = failures.error_document(error)
    assert (document["kind"], document["message"], document["problems"]) == (kind, message, [])


@pytest.mark.parametrize(("value", "is_plain"), [("1", True), ("", False)])
def test_no_color_is_respected_in_a_terminal(orchestrator, monkeypatch, value, is_plain):
    monkeypatch.setenv("NO_COLOR", value)
    done = orchestrator("validate", "absent.yaml", color=True)  # as in a terminal
    assert ("\x1b[" not in done.stderr) is is_plain
