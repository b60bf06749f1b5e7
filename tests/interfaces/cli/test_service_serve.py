"""`serve` as a process: it says where it is, runs jobs, and ends when it is told to."""

import json
import os
import signal
import socket
import subprocess
import sys

import pytest

from tests.interfaces.api.builders import write_project

FAKE = """
store = "store"
state_dir = "state"
cache_dir = "cache"
log_level = "ERROR"
user_code = "allowed"

[backends.sim]
kind = "fake"
num_nodes = 2
seconds = 0.0
fails = {"bad" = "UserError"}
"""


@pytest.fixture
def program(work):
    """Runs the program as another process; one that serves is ended with the test."""
    (work / "orchestrator.toml").write_text(FAKE)
    started = []

    def start(*words):
        command = [sys.executable, "-m", "orchestrator.interfaces.cli.main", *words]
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=work
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_a_job_from_the_first_token_to_its_model_across_two_servers(
    program, orchestrator, work, monkeypatch
):
    first = program("serve", "--port", "0", "--json")
    told = json.loads(first.stdout.readline())["ready"]
    assert told["backends"] == {"sim": "fake"}
    assert told["database"] == f"sqlite:///{work / 'state/orchestrator.db'}"
    assert (told["asks_who"], told["has_token"], told["issuer"]) == (True, False, None)
    words = ["token", "create", "--offline", "--name", "ops", "--team", "vision", "--role", "admin"]
    monkeypatch.setenv("ORCHESTRATOR_TOKEN", orchestrator(*words).stdout.strip())
    monkeypatch.setenv("ORCHESTRATOR_URL", told["url"])

    spec = write_project(work)
    done = orchestrator("submit", spec, "--wait")
    assert done.exit_code == 0, done.stderr
    assert "cameras@1" in orchestrator("show", "cameras").stdout
    failed = orchestrator("submit", spec, "--set", "metadata.name=bad", "--new", "--wait")
    assert failed.exit_code == 1

    # The next server knows what the one before it did.
    first.send_signal(signal.SIGTERM)
    assert first.wait(30) == 0
    assert first.communicate() == ("", "")
    second = program("serve", "--port", "0")
    address = second.stdout.readline().split()[-1]
    assert second.stdout.readline().split()[0] == "database"
    assert second.stdout.readline().split() == ["backends", "sim", "(fake)"]
    assert second.stdout.readline().split() == ["tokens", "asked", "for"]
    monkeypatch.setenv("ORCHESTRATOR_URL", address)
    states = {job["name"]: job["state"] for job in listed(orchestrator)}
    assert states == {"bad": "FAILED", "cameras": "SUCCEEDED"}
    second.send_signal(signal.SIGINT)
    assert second.wait(30) == 130
    assert second.communicate() == ("", "Stopped; what runs on the backends goes on.\n")


def listed(orchestrator):
    return json.loads(orchestrator("jobs", "--json").stdout)["jobs"]


RAY = '{"g": {"kind": "ray", "url": "http://h:1", "token_env": "X"}}'


@pytest.mark.timeout(30)  # one that does start would serve for ever
@pytest.mark.parametrize(
    ("words", "variables", "told"),
    [
        (["--port", "70000"], {}, "70000 is not in the range"),
        (["--host", "192.0.2.1"], {}, "cannot listen on 192.0.2.1"),
        (["--host", "0.0.0.0"], {"AUTHENTICATION": "off"}, "off, and 0.0.0.0 can be reached"),
        ([], {"DATABASE": "mysql://x"}, "database (environment ORCHESTRATOR_DATABASE)"),
        ([], {"DATABASE": "sqlite:///orchestrator.toml/rows.db"}, "orchestrator.toml"),
        ([], {"BACKENDS": '{"sim": {"kind": "fakes"}}'}, "backends.sim"),
        ([], {"BACKENDS": RAY}, "backends.g.token_env: X is not set"),
        ([], {"OIDC_ISSUER": "https://id.example"}, "without oidc_audience"),
    ],
)
def test_a_server_that_is_set_up_wrongly_does_not_start(settle, words, variables, told):
    done = settle(variables)("serve", "--port", "0", *words)
    assert done.exit_code == 2
    assert done.stdout == ""
    assert told in done.stderr


@pytest.fixture
def settle(orchestrator, work, monkeypatch):
    """Sets settings in a file and in the environment; runs `orchestrator …` under them."""

    def settle(variables):
        (work / "orchestrator.toml").write_text(FAKE)
        for name, value in variables.items():
            monkeypatch.setenv(f"ORCHESTRATOR_{name}", value)
        return orchestrator

    return settle


@pytest.mark.timeout(30)
def test_a_port_that_is_taken_is_told(settle):
    orchestrator = settle({})
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = orchestrator("serve", "--port", port, "--json")
    assert done.exit_code == 2
    error = json.loads(done.stdout)["error"]
    assert (error["kind"], str(port) in error["message"]) == ("SettingsError", True)
    assert "--port" in error["hint"]


def test_signals_are_as_before_when_it_has_ended(settle, monkeypatch):
    """And Ctrl-C reaches it in this process as well."""
    orchestrator = settle({})
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(
        "orchestrator.interfaces.cli.serve._tell", lambda ready: os.kill(os.getpid(), signal.SIGINT)
    )
    done = orchestrator("serve", "--port", "0")
    assert done.exit_code == 130
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before
