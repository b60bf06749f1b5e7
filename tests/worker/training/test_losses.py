from __future__ import annotations

import pytest

from orchestrator.worker.training.losses import LostRank, lost_rank


class WorkerHealthCheckFailedError(Exception):
    """Named as Ray Train names it."""


CLOSED = RuntimeError("Connection closed by peer [10.0.0.2]:4711")
DIED = WorkerHealthCheckFailedError("The actor died unexpectedly: worker process exit, SIGKILL")
NODE = WorkerHealthCheckFailedError("The actor died because its node has died. Node Id: 42")


@pytest.mark.parametrize(
    ("failures", "rank", "is_certain"),
    [
        ({0: CLOSED, 1: DIED}, 1, True),
        ({1: DIED, 2: DIED}, 1, True),
        ({0: CLOSED, 2: CLOSED}, 1, False),  # who says nothing is on a node that died just now
        ({0: CLOSED, 1: NODE}, 1, False),
        ({0: CLOSED, 1: CLOSED, 2: CLOSED}, 0, True),  # they lost sight of each other
    ],
)
def test_who_died_is_who_could_not_tell(
    failures: dict[int, BaseException], rank: int, is_certain: bool
) -> None:
    lost = lost_rank(failures, 3)
    assert (lost.rank, lost.is_certain) == (rank, is_certain)


def test_people_are_told_which() -> None:
    told = LostRank(1, is_certain=True).message
    assert told == "the process of worker 1 died: it was killed, or its machine was lost"
