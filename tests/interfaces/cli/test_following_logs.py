"""`logs`: what is printed, what is said beside it, and what is said where nothing is there."""

import json

import pytest

from orchestrator.records import JobState, Reason, Wait, WaitReason

S = JobState
ENDED_WITHOUT = "is CANCELLED and was never started: there is no output"


class Steps:
    """A log that is read step by step: before each look the next thing happens."""

    def __init__(self, place, *steps):
        self.printed = place.logs.printed
        self._steps = list(steps)
        place.logs.read = self.read

    def read(self, job, attempt, rank, offset):
        if self._steps:
            self._steps.pop(0)()
        return self.printed.get((attempt.number, rank), b"")[offset:]


@pytest.fixture
def job(place):
    job = place.job()
    place.started(job.id)
    return job


def test_bytes_come_as_they_are(ask, place, job):
    place.logs.printed = {None: b"driver\n", 1: b"\xff\x00 no text \r\x1b[1m"}
    done = ask("logs", job.id)
    assert (done.exit_code, done.stdout_bytes, done.stderr) == (0, b"driver\n", "")
    assert ask("logs", "cameras", "--rank", "1").stdout_bytes == b"\xff\x00 no text \r\x1b[1m"


def test_the_last_lines(ask, place, job):
    place.logs.printed = {0: b"".join(b"line %d\n" % n for n in range(100))}
    assert ask("logs", job.id, "--rank", "0", "--tail", "2").stdout == "line 98\nline 99\n"
    assert ask("logs", job.id, "--rank", "0", "--tail", "0").stdout == ""


def test_lines_of_json(ask, place, job):
    place.logs.printed = {0: "one\ntwo é\nno end".encode()}
    done = ask("logs", job.id, "--rank", "0", "--json")
    assert [json.loads(line) for line in done.stdout.splitlines()] == [
        {"type": "line", "attempt": 1, "line": text} for text in ("one", "two é", "no end")
    ]


def test_a_job_is_followed_from_attempt_to_attempt(ask, place):
    """It waits for the first one, and says on stderr whose output comes."""
    job = place.job()
    why = (Wait(reason=WaitReason.NO_ROOM, message="There is no room."),)
    place.move(job.id, S.SUSPENDED)
    place.move(job.id, S.QUEUED, Reason.RESUMED, waits=why)

    def prints(attempt, text):
        steps.printed[attempt, 0] = steps.printed.get((attempt, 0), b"") + text

    def retries():
        place.end_attempt(job.id)
        place.move(job.id, S.QUEUED, Reason.RETRYING)
        place.started(job.id, secret="the second")

    def ends():
        place.end_attempt(job.id)
        place.ended(job.id)

    steps = Steps(
        place,
        lambda: prints(1, b"one\n"),
        lambda: prints(1, b"two\n"),
        retries,
        lambda: prints(1, b"last of 1\n"),
        lambda: None,
        lambda: prints(2, b"again\n"),
        ends,
    )
    told = []
    waits = place.service.jobs.get

    def get(id):  # the follower has seen that it waits: now it starts
        found = waits(id)
        told.append(found.state)
        if told.count(S.QUEUED) == 4 and found.state is S.QUEUED and found.attempt == 0:
            place.started(job.id)
        return found

    place.service.jobs.get = get
    done = ask("logs", job.id, "-f", "--rank", "0")
    assert done.exit_code == 0
    assert done.stdout == "one\ntwo\nlast of 1\nagain\n"
    assert f"{job.id} is not running: There is no room.\n" in done.stderr
    assert done.stderr.endswith("attempt 2:\n")


def test_a_named_attempt_is_followed_to_its_end_alone(ask, place, job):
    steps = Steps(place, lambda: None, lambda: place.end_attempt(job.id))
    steps.printed[1, None] = b"done\n"
    done = ask("logs", job.id, "-f", "--attempt", "1")
    assert (done.exit_code, done.stdout) == (0, "done\n")


@pytest.mark.parametrize("words", [(), ("--json",)])
def test_before_the_start_it_is_said_why(ask, place, words):
    job = place.job()
    why = (Wait(reason=WaitReason.NO_ROOM, message="There is no room."),)
    place.move(job.id, S.SUSPENDED)
    place.move(job.id, S.QUEUED, waits=why)
    done = ask("logs", job.id, *words)
    assert done.exit_code == 2
    assert f"{job.id} has not started yet" in done.stderr
    assert "There is no room." in done.stderr
    if words:
        (line,) = done.stdout.splitlines()
        assert json.loads(line)["error"]["hint"] == "There is no room."


def test_nothing_printed_is_told_with_the_reason(ask, place, job):
    done = ask("logs", job.id, "--rank", "1")
    assert (done.exit_code, done.stdout) == (0, "")
    assert done.stderr == "rank 1 has printed nothing so far (attempt 1); -f waits for it\n"
    place.end_attempt(job.id)
    place.ended(job.id)
    done = ask("logs", job.id)
    assert "its driver printed nothing, or its cluster is gone and its log with it" in done.stderr
    assert "`--rank 0`" in done.stderr
    done = ask("logs", job.id, "--rank", "0", "-f")
    assert "rank 0 printed nothing, or it ended before its log was kept" in done.stderr


def test_a_job_that_never_started(ask, place):
    job = place.job()
    place.move(job.id, S.CANCELLED)
    done = ask("logs", job.id, "-f")
    assert (done.exit_code, done.stdout) == (0, "")
    assert done.stderr == f"{job.id} {ENDED_WITHOUT}\n"


def test_ranks_attempts_and_jobs_that_are_not_there(ask, job):
    done = ask("logs", job.id, "--rank", "2")
    assert done.exit_code == 2
    assert "attempt 1" in done.stderr
    assert "its ranks are 0 to 1" in done.stderr
    assert "it has 1" in ask("logs", job.id, "--attempt", "5").stderr
    assert ask("logs", "nobody").exit_code == 2
    assert ask("logs", job.id, team="text").exit_code == 2
