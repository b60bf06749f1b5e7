"""Why a job waits: an ordered list of sentences, each with what would make the job start."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from orchestrator.control.scheduler import Node, Workload
from orchestrator.records import Queue, Wait, WaitReason
from tests.control.scheduler.builders import GB, NOW, job, node, plan, queue, running

R = WaitReason


@dataclass(frozen=True)
class Case:
    says: str
    workloads: tuple[Workload, ...]  # the last one is asked about
    reasons: list[WaitReason]
    message: str  # of the first
    remedy: str
    nodes: tuple[Node, ...] = (node("n1", 8),)
    queues: tuple[Queue, ...] = ()


CASES = (
    Case(
        "a backoff",
        (job("job-x", eligible_at=NOW + 60),),
        [R.NOT_BEFORE],
        "Its next attempt does not begin before 1970-01-12 13:47 UTC.",
        "It stands in line again from then on, at its old place.",
    ),
    Case(
        "a queue that is not there",
        (job("job-x", queue="nope"),),
        [R.UNKNOWN_QUEUE],
        "There is no queue named nope.",
        "Create the queue, or submit the job to one that exists.",
    ),
    Case(
        "a paused queue comes with what else is in the way",
        (job("job-x", eligible_at=NOW + 60),),
        [R.QUEUE_PAUSED, R.NOT_BEFORE],
        "The queue main is paused.",
        "It stands in line again once the queue is resumed.",
        queues=(queue(is_paused=True),),
    ),
    Case(
        "no node at all",
        (job("job-x"),),
        [R.BACKEND_AWAY],
        "No node of any backend can be reached.",
        "It starts when a backend with room for it is back.",
        nodes=(),
    ),
    Case(
        "it fits nowhere, and how much would",
        (job("job-x", 20),),
        [R.NEVER_FITS],
        "Of 20 workers with 1 GPU, 1 core, 1 GB each, 8 would fit even if the cluster were empty.",
        "Ask for 8 at most, or for less of each, or add nodes.",
    ),
    Case(
        "there is no such GPU",
        (job("job-x", accelerator="H100"),),
        [R.NEVER_FITS],
        "Of 1 worker with 1 H100 GPU, 1 core, 1 GB, 0 would fit even if the cluster were empty.",
        "Ask for another kind of GPU: there is A100.",
    ),
    Case(
        "the node that would do takes no new work",
        (job("job-x"),),
        [R.NO_ROOM],
        "Of 1 worker with 1 GPU, 1 core, 1 GB, 0 fit without n1, which takes no new work.",
        "It stands in line again once new work is let onto such nodes.",
        nodes=(node("n1", 8, is_schedulable=False),),
    ),
    Case(
        "more than the whole quota",
        (job("job-x", 4),),
        [R.QUOTA],
        "It needs 4 GPUs; the whole quota of queue main is 2 GPUs.",
        "Ask for less, use another queue, or have the quota raised.",
        queues=(queue(quota={"gpu": 2}),),
    ),
    Case(
        "the quota is used up, of what it limits",
        (running("job-r", "n1"), job("job-x", cpus=3.0)),
        [R.QUOTA],
        "It needs 3 cores, 1 GB; of the quota of queue main (3 cores, 9 GB) less is left.",
        "It can start when jobs of the queue end.",
        queues=(queue(quota={"cpu": 3, "memory_bytes": 9 * GB}),),
    ),
    Case(
        "the head: where and when",
        (running("job-r", "n1", gpus=8, remaining_seconds=100.0), job("job-x")),
        [R.NO_ROOM],
        "There is no room for 1 worker with 1 GPU, 1 core, 1 GB yet; n1 is kept for it.",
        "It is expected to start at 1970-01-12 13:48 UTC or sooner.",
    ),
    Case(
        "the head, where nobody says when it ends",
        (running("job-r", "n1", gpus=8), job("job-x")),
        [R.NO_ROOM],
        "There is no room for 1 worker with 1 GPU, 1 core, 1 GB yet; n1 is kept for it.",
        "It is expected to start when jobs there end that do not say when they will.",
    ),
    Case(
        "behind: its own reason, then who comes first",
        (running("job-r", "n1", gpus=8), job("job-head", at=-200), job("job-x")),
        [R.NO_ROOM, R.BEHIND],
        "There is no room for 1 worker with 1 GPU, 1 core, 1 GB at once (0 such GPUs are free).",
        "It can start when jobs that run now end.",
    ),
    Case(
        "there is room, and it is promised",
        (running("job-r", "n1", gpus=4), job("job-head", gpus=8, at=-200), job("job-x")),
        [R.BEHIND, R.BEHIND],
        "There is room for it, but jobs that come first would have to wait for its end.",
        "It can start when they have started; a shorter job could start before them.",
    ),
    Case(
        "victims are saving",
        (running("job-r", "n1", gpus=8), job("job-x", priority=10)),
        [R.PREEMPTING],
        "Jobs on n1 are saving and stopping; their place is kept for it.",
        "It starts as soon as they have stopped.",
    ),
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.says)
def test_reasons(case: Case) -> None:
    waits = plan(case.nodes, case.workloads, case.queues).waits["job-x"]
    assert [wait.reason for wait in waits] == case.reasons
    assert (waits[0].message, waits[0].remedy) == (case.message, case.remedy)


def test_who_comes_first_and_why() -> None:
    workloads = (
        running("job-r", "n1", gpus=8),
        job("job-head", priority=10, at=-40),
        job("job-x"),
    )
    behind = plan((node("n1", 8),), workloads).waits["job-x"][-1]
    assert behind == Wait(
        reason=R.BEHIND,
        message="job-head comes first in queue main: priority 10, queued 1970-01-12 13:46 UTC.",
        remedy="It starts before that one only where it does not delay it.",
    )


def test_a_team_above_its_share_is_told_both_shares() -> None:
    workloads = (
        running("job-r", "n1", gpus=6, team="red"),
        running("job-b", "n1", gpus=2, team="blue"),
        job("job-blue", team="blue", at=-1),
        job("job-x", team="red", at=-900),
    )
    told = plan((node("n1", 8),), workloads).waits["job-x"][-1]
    assert told.reason is R.FAIR_SHARE
    assert told.message == (
        "Team blue holds 25% of queue main for its weight, team red 75%: job-blue comes first."
    )
    assert told.remedy == "Its turn comes when team red holds less than team blue."


def test_what_the_controller_knows_comes_first() -> None:
    known = Wait(reason=R.DEPENDENCY, message="waits for job-a to succeed", remedy="see it")
    waits = plan((node("n1", 8),), (job("job-x", gpus=64, blocked_by=known),)).waits["job-x"]
    assert [wait.reason for wait in waits] == [R.DEPENDENCY, R.NEVER_FITS]


def test_jobs_in_the_same_position_share_their_sentences() -> None:
    """Thousands of them cost the rows one comparison, not thousands of sentences."""
    workloads = (running("job-r", "n1", gpus=8), *(job(f"job-{n}", at=n) for n in range(5)))
    waits = plan((node("n1", 8),), workloads).waits
    assert waits["job-2"] is waits["job-3"]
