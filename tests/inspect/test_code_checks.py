"""What a spec names in user code is looked for without running a line of it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from orchestrator.errors import InvalidInput
from orchestrator.inspect.code_checks import inspect_code, refused_code
from orchestrator.inspect.definitions import read_definitions
from orchestrator.inspect.validation import validate_all
from tests.inspect.rows import POLAR, jsonl, write
from tests.specs.builders import spec

TRAP = "import pathlib\npathlib.Path('{}').write_text('run')\n"
SPEC = """\
apiVersion: finetune.orchestrator/v1alpha1
kind: FineTune
metadata: {name: job-one}
spec:
  model: {base: "package://some_package/model"}
  task: {type: text-classification}
  data:
    domains: {camera: {train: [{path: rows.jsonl}], test: [{path: rows.jsonl}]}}
    transform: mine:tidy
  evaluation:
    custom_metrics:
      cost: mine:cost
  runtime:
    code: pkg
    env: {MODE: fast}
    secrets: [hf-token]
"""
CUSTOM = {
    "model": None,
    "task": {"type": "custom", "entrypoint": "train.py"},
    "runtime": {"code": "pkg"},
}


def pack(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        path = folder / "pkg" / f"{name.replace('__', '/')}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def told(folder: Path, **sections: object) -> list[str]:
    found = inspect_code(spec(**sections), base_dir=folder, fetch=None)
    return [str(problem).replace(f"{folder}/", "") for problem in found.problems]


def metric(entry: str) -> dict[str, object]:
    return {
        "evaluation": {"custom_metrics": {"cost": entry}},
        "runtime": {"code": "pkg"},
    }


FOUND = {
    "a function": "def cost(labels, probabilities): pass",
    "with more that have defaults": "def cost(labels, probabilities, weight=1, *, scale=2): pass",
    "of any number": "def cost(*values): pass",
    "in a branch": "if True:\n    def cost(a, b): pass\nelse:\n    cost = None",
    "of a try": "try:\n    from fast import cost\nexcept ImportError:\n    def cost(a, b): pass",
    "of a with": "with open('x'):\n    cost = 1",
    "assigned": "cost = other = lambda a: a",
    "unpacked": "(first, cost), *rest = [], 1",
    "annotated": "cost: object = None",
    "imported": "from elsewhere import something as cost",
    "perhaps by a star": "from elsewhere import *",
    "changed by a decorator": "@needs_one_value_less\ndef cost(a, b, c): pass",
}


@pytest.mark.parametrize("name", FOUND)
def test_what_is_found(name: str, tmp_path: Path) -> None:
    pack(tmp_path, mine=FOUND[name])

    assert told(tmp_path, **metric("mine:cost")) == []


WRONG = {
    "def costs(a, b): pass": (
        "evaluation.custom_metrics.cost: mine.py defines no cost (did you mean mine:costs?)"
    ),
    "class C:\n    def cost(a, b): pass": (
        "evaluation.custom_metrics.cost: mine.py defines no cost (define it in mine.py)"
    ),
    "\ndef cost(labels): pass": (
        "pkg/mine.py:2: evaluation.custom_metrics.cost: cost is called with 2 values "
        "(write def cost(labels, probabilities))"
    ),
    "def cost(a, b, c): pass": (
        "pkg/mine.py:1: evaluation.custom_metrics.cost: cost is called with 2 values "
        "(write def cost(labels, probabilities))"
    ),
    "def cost(a, b, *, c): pass": (
        "pkg/mine.py:1: evaluation.custom_metrics.cost: cost is called with 2 values "
        "(write def cost(labels, probabilities))"
    ),
    "async def cost(a, b): pass": (
        "pkg/mine.py:1: evaluation.custom_metrics.cost: cost is asynchronous "
        "(write def cost(labels, probabilities))"
    ),
    "class cost: pass": (
        "pkg/mine.py:1: evaluation.custom_metrics.cost: cost is a class, not a function "
        "(write def cost(labels, probabilities))"
    ),
    "\n\ndef cost(a, b:": (
        "pkg/mine.py:3: evaluation.custom_metrics.cost: "
        "mine.py: not valid Python: '(' was never closed"
    ),
}


@pytest.mark.parametrize("text", WRONG)
def test_what_is_wrong(text: str, tmp_path: Path) -> None:
    pack(tmp_path, mine=text)

    assert told(tmp_path, **metric("mine:cost")) == [WRONG[text]]


@pytest.mark.parametrize(
    ("sections", "problem"),
    [
        (
            metric("mime:cost"),
            "evaluation.custom_metrics.cost: pkg holds no module mime (did you mean mine:cost?)",
        ),
        (
            metric("far.away:cost"),
            "evaluation.custom_metrics.cost: pkg holds no module far.away "
            "(modules there: json, mine, train, deep.inner, deep)",
        ),
        (
            metric("json:cost"),
            "evaluation.custom_metrics.cost: json is the name of a module of Python's own, which "
            "would be imported instead (rename json.py)",
        ),
        (
            {**CUSTOM, "task": {"type": "custom", "entrypoint": "tran.py"}},
            "task.entrypoint: pkg holds no tran.py (did you mean train.py?)",
        ),
    ],
)
def test_modules_and_scripts(sections: dict[str, object], problem: str, tmp_path: Path) -> None:
    files = {"mine": "", "json": "", "train": "", "deep__inner": "def cost(a, b): pass"}
    pack(tmp_path, **files, deep____init__="")
    (tmp_path / "pkg" / "deep" / "__init__.py").write_text("")

    (found,) = told(tmp_path, **sections)

    assert sorted(found) == sorted(problem)
    assert told(tmp_path, **metric("deep.inner:cost")) == []
    assert told(tmp_path, **CUSTOM) == []


def test_code_that_is_not_there(tmp_path: Path) -> None:
    (found,) = told(tmp_path, **CUSTOM)
    assert found.startswith("runtime.code: pkg cannot be read: No such file or directory")
    (found,) = told(tmp_path, **{**CUSTOM, "runtime": {"code": "s3://bucket/pkg"}})
    assert found.startswith("runtime.code: s3://bucket/pkg cannot be reached from here")


def test_what_would_take_forever_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Parsing time of such a line grows with the square of its length."""
    slow = b'f"' + b"{1}" * 300_000 + b'"'
    monkeypatch.setattr("orchestrator.inspect.definitions.TIMEOUT_SECONDS", 1.0)

    found = read_definitions({"slow.py": slow, "mine.py": b"def cost(a, b): pass"})

    assert found["slow.py"].error == "it takes too long to be parsed"
    assert found["mine.py"].names["cost"].takes(2)


@pytest.mark.parametrize("text", ["-" * 500_000 + "1", "a" + "()" * 100_000, "\0", "\xff = 1"])
def test_what_breaks_a_parser_is_told(text: str) -> None:
    found = read_definitions({"odd.py": text.encode("latin-1")})

    assert (found["odd.py"].error or "").startswith("not valid Python")


def test_nothing_is_run(tmp_path: Path) -> None:
    """Neither what is named, nor what stands beside it, be its name that of a library."""
    mark = tmp_path / "mark"
    trap = TRAP.format(mark)
    names = ("mine", "train", "ast", "json", "conftest", "sitecustomize", "usercustomize")
    pack(tmp_path, **dict.fromkeys(names, trap))
    write(tmp_path, rows_jsonl=jsonl(POLAR))
    text = SPEC.replace("mine:tidy", "mine:pathlib").replace("mine:cost", "mine:pathlib")
    (tmp_path / "spec.yaml").write_text(text)

    found = validate_all(tmp_path / "spec.yaml")

    assert found.code is not None
    assert told(tmp_path, **CUSTOM) == []
    assert not mark.exists()
    assert not {"mine", "sitecustomize"} & set(sys.modules)


def test_problems_of_code_come_with_those_of_the_spec(tmp_path: Path) -> None:
    pack(tmp_path, mine="\ndef tidy(row, more): pass\n")
    (tmp_path / "spec.yaml").write_text(SPEC)

    with pytest.raises(InvalidInput) as caught:
        validate_all(tmp_path / "spec.yaml")

    places = [(problem.path, problem.line) for problem in caught.value.problems]
    assert ("evaluation.custom_metrics.cost", 12) in places
    assert ("data.transform", 2) in places  # of mine.py
    assert any(path == "data.domains.camera.train[0].path" for path, _ in places)


def test_an_operator_who_allows_none_refuses_all_of_it(tmp_path: Path) -> None:
    pack(tmp_path, mine="not Python at all")
    write(tmp_path, rows_jsonl=jsonl(POLAR))
    (tmp_path / "spec.yaml").write_text(SPEC)

    with pytest.raises(InvalidInput) as caught:
        validate_all(tmp_path / "spec.yaml", allow_code=False)

    assert [(problem.path, problem.line) for problem in caught.value.problems] == [
        ("runtime.code", 14),
        ("runtime.env", 15),
        ("runtime.secrets", 16),
    ]
    assert {problem.message for problem in caught.value.problems} == {
        "the operator does not allow user code here"
    }
    assert list(refused_code(spec())) == []
