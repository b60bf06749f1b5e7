import json
import os
import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from orchestrator import __version__
from orchestrator.errors import NotFound
from orchestrator.interfaces.cli import main as program
from orchestrator.interfaces.cli.main import COMMANDS, LazyCommand, LazyGroup, cli

HEAVY = {"torch", "transformers", "deepspeed", "ray", "kubernetes", "fastapi", "sqlalchemy"}


def run_python(code, *arguments):
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def modules_after(*words):
    code = (
        "import sys\n"
        "from orchestrator.interfaces.cli.main import main\n"
        "try:\n    main()\nexcept SystemExit as end:\n    code = end.code\n"
        "print('\\n', code, *sorted(sys.modules), file=sys.stderr)\n"
    )
    done = run_python(code, *words)
    code_and_modules = done.stderr.strip().splitlines()[-1].split()
    return int(code_and_modules[0]), set(code_and_modules[1:]), done


def test_help_imports_nothing_heavy():
    code, modules, done = modules_after("--help")
    assert code == 0
    assert "Fine-tune language models" in done.stdout
    assert modules.isdisjoint(
        HEAVY | {"pyarrow", "obstore", "rich", "pydantic", "yaml", "httpx", "tokenizers", "numpy"}
    )


def test_validate_imports_nothing_heavy(work):
    """Reading the data takes pyarrow; training libraries and servers it does not take."""
    for split in ("train", "test"):
        rows = [{"text": f"{split} {n}", "label": "ab"[n % 2]} for n in range(40)]
        (work / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    domain = {"train": [{"path": "train.jsonl"}], "test": [{"path": "test.jsonl"}]}
    spec = {
        "apiVersion": "finetune.orchestrator/v1alpha1",
        "kind": "FineTune",
        "metadata": {"name": "small"},
        "spec": {
            "model": {"base": "hf://org/name"},
            "task": {"type": "text-classification"},
            "data": {"domains": {"d": domain}},
        },
    }
    (work / "spec.json").write_text(json.dumps(spec))
    code, modules, done = modules_after("validate", "spec.json")
    assert (code, done.stdout) == (0, "spec.json: valid (FineTune small)\n"), done.stderr
    assert modules.isdisjoint(HEAVY | {"rich", "obstore", "datasets", "huggingface_hub"})


@pytest.mark.parametrize("name", list(COMMANDS))
def test_the_listed_help_is_the_commands_own(name):
    command = COMMANDS[name].load()
    assert command.help is not None
    assert command.help.splitlines()[0] == COMMANDS[name].help
    assert command.name == name


@pytest.mark.parametrize("name", list(COMMANDS))
def test_every_command_and_option_explains_itself(name):
    commands = [COMMANDS[name].load()]
    for command in commands:
        commands += getattr(command, "commands", {}).values()
        assert command.help
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                assert parameter.help, (command.name, parameter.name)


def test_commands_are_listed_by_where_they_work_in_the_order_they_are_used():
    listed = CliRunner().invoke(cli, ["--help"]).stdout
    sections = {}
    for line in listed.partition("-h, --help")[2].splitlines()[1:]:
        if line.endswith(":"):
            section = sections.setdefault(line.removesuffix(":"), [])
        elif line:
            section.append(line.split()[0])
    assert sections == {
        "On this machine": [
            *("init", "import", "validate", "plan", "data", "rehearse", "run"),
            *("predict", "models", "schema", "doctor"),
        ],
        "Jobs of a server": [
            *("login", "submit", "jobs", "show"),
            *("watch", "logs", "events", "stacks", "top", "compare"),
            *("cancel", "suspend", "resume", "retry", "rerun", "delete"),
        ],
        "The server itself": ["serve", "token", "queues", "nodes", "audit"],
    }


def test_version():
    assert CliRunner().invoke(cli, ["--version"]).stdout == f"orchestrator {__version__}\n"


@pytest.mark.parametrize(
    ("word", "remedy"), [("rnu", "Did you mean run?"), ("frobnicate", "Try one of: init,")]
)
def test_an_unknown_command_is_met_with_a_remedy(word, remedy):
    done = CliRunner().invoke(cli, [word])
    assert done.exit_code == 2
    assert done.stdout == ""
    assert f"No such command '{word}'. {remedy}" in done.stderr


@click.command()
@click.argument("what")
def misbehave(what):
    """Ends in the way it is told."""
    match what:
        case "not-found":
            raise NotFound("no such model", hint="orchestrator models lists them")
        case "interrupted":
            raise KeyboardInterrupt
        case "defect":
            return 1 // 0
        case "json":
            click.echo("{}")
    return int(what) if what.isdigit() else None


@pytest.fixture
def group(monkeypatch):
    monkeypatch.setattr(program, "misbehave", misbehave, raising=False)
    lazy = {"misbehave": LazyCommand(program.__name__, "misbehave", "Ends in the way it is told.")}
    return LazyGroup("test", lazy=lazy)


@pytest.mark.parametrize(
    ("what", "code"),
    [("none", 0), ("0", 0), ("1", 1), ("130", 130), ("not-found", 2), ("interrupted", 130)],
)
def test_what_a_command_returns_or_raises_is_the_exit_code(group, what, code):
    assert CliRunner().invoke(group, ["misbehave", what]).exit_code == code


def test_an_error_goes_to_stderr_with_its_hint(group):
    done = CliRunner().invoke(group, ["misbehave", "not-found"])
    assert done.stdout == ""
    assert done.stderr == "error: no such model\n  hint: orchestrator models lists them\n"


def test_a_defect_exits_with_1_and_says_so(group):
    done = CliRunner().invoke(group, ["misbehave", "defect"])
    assert done.exit_code == 1
    assert "ZeroDivisionError" in done.stderr
    assert "please report" in done.stderr


def test_a_usage_error_beside_json_is_one_document():
    done = CliRunner().invoke(cli, ["validate", "--json"])
    assert done.exit_code == 2
    document = json.loads(done.stdout)
    assert document["error"]["kind"] == "Usage"
    assert "SPEC" in document["error"]["message"]


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_terminal_of_few_characters_is_no_error(publish, encoding):
    publish("sentiment")
    environment = dict(os.environ, PYTHONIOENCODING=encoding)
    words = [sys.executable, "-m", "orchestrator.interfaces.cli.main", "models"]
    done = subprocess.run(words, capture_output=True, env=environment, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert b"sentiment@1" in done.stdout
    assert b"\\u2013" in done.stdout  # the dash of a model without figures


def test_a_reader_that_goes_away_is_no_error():
    done = subprocess.run(
        f"{sys.executable} -m orchestrator.interfaces.cli.main schema | head -c 10",
        shell=True,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert len(done.stdout) == 10
    assert done.stderr == ""
