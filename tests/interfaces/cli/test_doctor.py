import json

import pytest

from orchestrator.interfaces.cli import machine
from orchestrator.interfaces.cli.machine import Check, Status


@pytest.fixture
def findings(monkeypatch):
    found = [
        Check("python", Status.OK, "3.11.7"),
        Check("deepspeed ops", Status.WARNING, "not built yet", "make install"),
    ]
    monkeypatch.setattr(machine, "checks", lambda settings: iter(found))
    return found


def test_each_finding_has_its_mark_and_its_remedy(orchestrator, findings):
    done = orchestrator("doctor")
    assert done.exit_code == 0
    assert [line.rstrip() for line in done.stdout.splitlines()[:3]] == [
        "✓ python        3.11.7",
        "! deepspeed ops not built yet",
        "                → make install",
    ]


def test_what_failed_decides_the_exit_code(orchestrator, findings):
    findings.append(Check("ray", Status.FAILED, "not installed", "pip install"))
    assert orchestrator("doctor").exit_code == 1
    done = orchestrator("doctor", "--json")
    assert done.exit_code == 1
    document = json.loads(done.stdout)
    assert document["ok"] is False
    assert document["checks"][2] == {
        "name": "ray",
        "status": "failed",
        "detail": "not installed",
        "remedy": "pip install",
    }


def test_each_setting_says_where_it_came_from(orchestrator, findings, monkeypatch, work):
    monkeypatch.setenv("COLUMNS", "200")  # nothing is folded
    monkeypatch.setenv("ORCHESTRATOR_LOG_LEVEL", "ERROR")
    (work / "orchestrator.toml").write_text('store = "elsewhere"\n')
    lines = [line.split() for line in orchestrator("doctor").stdout.splitlines()]
    assert ["log_level", "ERROR", "environment", "ORCHESTRATOR_LOG_LEVEL"] in lines
    settings = json.loads(orchestrator("doctor", "--json").stdout)["settings"]
    by_name = {setting["name"]: setting for setting in settings}
    assert by_name["store"]["value"] == str(work / "elsewhere")
    assert by_name["store"]["source"] == str(work / "orchestrator.toml")
    assert by_name["report_host"]["source"] == "default"


def test_wrong_settings_are_one_error(orchestrator, findings, work):
    (work / "orchestrator.toml").write_text("stoer = 1\n")
    done = orchestrator("doctor")
    assert done.exit_code == 2
    assert "unknown setting 'stoer'" in done.stderr
