from __future__ import annotations

import pytest

from orchestrator.control.store import Database, Jobs, Queues
from orchestrator.errors import Conflict
from orchestrator.records import Queue, Reason
from tests.control.store.builders import S, added, moved


@pytest.fixture
def queues(database: Database) -> Queues:
    return Queues(database)


GPU = Queue(
    name="gpu",
    quota={"gpu/H200": 8, "memory_bytes": 2.0**40},
    weights={"vision": 2.5},
    teams=("vision", "speech"),
    is_paused=True,
    allows_preemption=False,
)


def test_there_is_a_default_queue(queues: Queues) -> None:
    assert queues.list() == [Queue(name="default")]


def test_a_queue_comes_back_as_it_was_put(queues: Queues) -> None:
    queues.put(GPU)
    assert queues.get("gpu") == GPU
    assert queues.list() == [Queue(name="default"), GPU]

    queues.put(GPU.model_copy(update={"is_paused": False}))
    queues.put(Queue(name="a"))

    assert [(queue.name, queue.is_paused) for queue in queues.list()] == [
        ("a", False),
        ("default", False),
        ("gpu", False),
    ]
    assert queues.get("absent") is None


def test_a_queue_with_jobs_stays(queues: Queues, database: Database) -> None:
    queues.put(GPU)
    jobs = Jobs(database)
    job = added(jobs, queue="gpu")

    with pytest.raises(Conflict, match=f"the queue gpu still has jobs, such as {job.id}"):
        queues.delete("gpu")

    jobs.apply(moved(job, S.CANCELLED, Reason.CANCELLED))
    assert queues.delete("gpu") is True
    assert queues.delete("gpu") is False
    assert queues.list() == [Queue(name="default")]
