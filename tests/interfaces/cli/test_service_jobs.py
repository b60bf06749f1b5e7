"""`jobs`: lines for a terminal of any width, and what the server finds."""

import json

import pytest
from rich.console import Console

from orchestrator.interfaces.cli.joblist import listed
from orchestrator.interfaces.wire import JobView, Progress
from orchestrator.records import Goal, JobState, Reason, Role, Wait, WaitReason
from tests.control.store.builders import TIME, a_job, job_name

S = JobState
FULL = Wait(
    reason=WaitReason.NO_ROOM,
    message="There is no room for 2 workers with 4 cores each at once (3 cores are free).",
    remedy="It can start when jobs that run now end.",
)


def a_view(number=1, *, progress=None, **fields):
    return JobView(**dict(a_job(number, **fields)), progress=progress)


def printed(jobs, width, now=TIME + 300):
    console = Console(width=width, record=True, file=open("/dev/null", "w"))  # noqa: PTH123, SIM115
    for view in listed(jobs, now, console.width):
        console.print(view)
    return [line.rstrip() for line in console.export_text().splitlines()]


JOBS = (
    a_view(
        4,
        name="waiting",
        queue="gpus",
        priority=10,
        waits=(FULL,),
        attempt=1,
        reason=Reason.PREEMPTED,
    ),
    a_view(
        3,
        name="running",
        state=S.RUNNING,
        reason=Reason.TRAINING,
        attempt=2,
        progress=Progress(attempt=2, phase="train", step=40, max_steps=200),
    ),
    a_view(2, name="done", state=S.SUCCEEDED, reason=Reason.COMPLETED, attempt=1, model="done@3"),
    a_view(
        1,
        name="lost",
        state=S.FAILED,
        reason=Reason.OUT_OF_MEMORY,
        message="rank 1 ran out of memory\nsecond line",
        attempt=4,
    ),
)


def test_a_narrow_terminal_has_what_matters_and_says_the_rest_below():
    lines = printed(JOBS, 80)
    assert lines == [
        "job                             name     state                 age",
        f"{job_name(4)}  waiting  QUEUED Preempted      5 min",
        "    queue gpus, high priority. There is no room for 2 workers with 4 cores each",
        "    at once (3 cores are free).",
        f"{job_name(3)}  running  RUNNING train 40/200  5 min",
        "    attempt 2",
        f"{job_name(2)}  done     SUCCEEDED             5 min",
        "    published done@3",
        f"{job_name(1)}  lost     FAILED OutOfMemory    5 min",
        "    attempt 4. rank 1 ran out of memory",
    ]
    assert max(map(len, lines)) <= 80


def test_a_wide_one_has_a_column_for_everything():
    lines = printed(JOBS, 120)
    columns = [
        ["job", "name", "state", "queue", "priority", "try", "age", "model"],
        [job_name(4), "waiting", "QUEUED Preempted", "gpus", "high", "1", "5 min", "–"],
        [job_name(3), "running", "RUNNING train 40/200", "default", "normal", "2", "5 min", "–"],
        [job_name(2), "done", "SUCCEEDED", "default", "normal", "1", "5 min", "done@3"],
        [job_name(1), "lost", "FAILED OutOfMemory", "default", "normal", "4", "5 min", "–"],
    ]
    assert [
        [cell.strip() for cell in line.split("  ") if cell.strip()]
        for line in lines
        if not line.startswith("    ")
    ] == columns
    assert lines[2] == f"    {FULL.message}"
    assert max(map(len, lines)) <= 120


@pytest.mark.parametrize("width", [60, 80, 110, 120, 240])
def test_ids_are_never_cut_and_names_only_where_they_must(width):
    long = a_view(1, name="n" * 63, state=S.SUCCEEDED, model=f"{'m' * 63}@12")
    heading, line, *_ = printed([long], width)
    assert line.startswith(f"{job_name(1)}  nnnnnnn")
    assert ("…" in line) == (width < 240)
    assert max(len(heading), len(line)) <= width


def test_teams_are_told_apart_where_there_are_several():
    jobs = [a_view(2, team="nlp"), a_view(1, team="vision")]
    assert "    team nlp" in printed(jobs, 80)
    assert printed(jobs, 120)[0].split()[:3] == ["job", "name", "team"]
    assert "team" not in printed(jobs[:1], 120)[0]


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"state": S.RUNNING, "wanted": Goal.CANCEL}, "It was asked to be cancelled."),
        ({"state": S.STOPPING, "goal": Goal.SUSPEND}, "It stops to be suspended."),
        ({"state": S.STOPPING, "goal": Goal.FAIL}, "It stops because its time is over."),
        ({"reason": Reason.RETRYING, "message": "rank 0 was lost"}, "rank 0 was lost"),
    ],
)
def test_what_is_happening_is_one_sentence(fields, told):
    assert printed([a_view(**fields)], 80)[-1] == f"    {told}"


def test_the_list_can_be_filtered(ask, place):
    place.job("first")
    place.job("second", by="bob")
    place.ended(place.job("third").id)
    place.job("foreign", team="nlp", by="eve")

    def names(*words, **who):
        document = json.loads(ask("jobs", "--json", *words, **who).stdout)
        return [job["name"] for job in document["jobs"]]

    assert names() == ["third", "second", "first"]
    assert names("--state", "queued") == ["second", "first"]
    assert names("--state", "queued", "--state", "SUCCEEDED") == ["third", "second", "first"]
    assert names("--by", "bob") == ["second"]
    assert names("--name", "first") == ["first"]
    assert names("--label", "project=reviews", "--limit", "1") == ["third"]
    assert names("--label", "project=other") == []
    assert names("--queue", "gpus") == []
    assert names("--team", "nlp") == []  # another team's are not seen
    assert names("--team", "nlp", role=Role.ADMIN) == ["foreign"]


def test_more_than_the_limit_is_told(ask, place):
    for name in ("one", "two", "three"):
        place.job(name)
    done = ask("jobs", "--limit", "2")
    assert done.exit_code == 0
    assert [line.split()[1] for line in done.stdout.splitlines()[1:]] == ["three", "two"]
    assert "There are more: --limit 20" in done.stderr
    assert json.loads(ask("jobs", "--limit", "2", "--json").stdout)["more"] is True
    assert json.loads(ask("jobs", "--limit", "3", "--json").stdout)["more"] is False


def test_no_job_says_what_to_do(ask):
    assert "`orchestrator submit SPEC` queues one" in ask("jobs").stdout
    assert ask("jobs", "--state", "failed").stdout == "No job is like that.\n"
    assert json.loads(ask("jobs", "--json").stdout) == {"jobs": [], "more": False}


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--label", "project"], "write KEY=VALUE"),
        (["--label", "=x"], "write KEY=VALUE"),
        (["--state", "sleeping"], "'sleeping' is not one of 'queued'"),
        (["--limit", "0"], "x>=1"),
    ],
)
def test_bad_filters_are_told(ask, words, told):
    done = ask("jobs", *words)
    assert done.exit_code == 2
    assert done.stdout == ""
    assert told in done.stderr


def test_a_server_that_is_away_and_a_token_nobody_has(ask, orchestrator, monkeypatch):
    done = ask("jobs", "--url", "http://127.0.0.1:1", "--json")
    assert done.exit_code == 1
    assert json.loads(done.stdout)["error"]["kind"] == "ServerUnavailable"
    monkeypatch.setenv("ORCHESTRATOR_TOKEN", "orc_wrong")
    done = orchestrator("jobs")
    assert done.exit_code == 2
    assert "unknown, revoked or has expired" in done.stderr
    assert "orchestrator login" in done.stderr
    monkeypatch.delenv("ORCHESTRATOR_TOKEN")
    assert "a bearer token is needed" in orchestrator("jobs").stderr
