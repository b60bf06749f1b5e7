"""With how many workers a job may train, and what becomes of its micro batch."""

from __future__ import annotations

import pytest

from orchestrator.specs.sizes import fewer_workers, with_workers
from tests.control.builders import resolved_spec


@pytest.mark.parametrize(
    ("workers", "least", "rows", "sizes"),
    [
        (4, 1, 32, (2, 1)),
        (4, 2, 32, (2,)),
        (6, 1, 36, (4, 3, 2, 1)),
        (4, 4, 32, ()),
        (4, None, 32, ()),
    ],
)
def test_numbers_that_divide_the_batch_will_do(
    workers: int, least: int | None, rows: int, sizes: tuple[int, ...]
) -> None:
    spec = resolved_spec(
        resources={"workers": workers, "min_workers": least}, training={"global_batch_size": rows}
    )
    assert fewer_workers(spec.spec) == sizes


@pytest.mark.parametrize(
    ("workers", "micro", "rows", "expected"),
    [(2, 8, 32, 8), (1, 16, 32, 16), (3, 6, 24, 4), (4, 16, 32, 8)],
)
def test_a_micro_batch_divides_what_a_worker_gets(
    workers: int, micro: int, rows: int, expected: int
) -> None:
    spec = resolved_spec(
        engine={"micro_batch_size": micro},
        resources={"workers": 4 if workers < 4 else 2},
        training={"global_batch_size": rows},
    )
    changed = with_workers(spec, workers).spec
    assert (changed.resources.workers, changed.engine.micro_batch_size) == (workers, expected)
