"""Where gangs go: whole, on few nodes, leaving whole nodes free, where they may be."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from orchestrator.control.scheduler import Node, Resources, Workload
from tests.control.scheduler.builders import job, node, nodes, plan, running, started

Where = dict[str, dict[str, int]]


@dataclass(frozen=True)
class Case:
    says: str
    nodes: tuple[Node, ...]
    workloads: tuple[Workload, ...]
    where: Where


def labelled(name: str, **labels: str) -> Node:
    return node(name, labels=labels)


ALL_OR_NOTHING = (
    Case("15 of 16 places are none", (*nodes(1), node("n2", 7)), (job("job-a", 16),), {}),
    Case(
        "16 of 16, over two nodes",
        nodes(2),
        (job("job-a", 16),),
        {"job-a": {"n1": 8, "n2": 8}},
    ),
    Case(
        "never over two backends",
        (node("n1", 4, backend="ray-a"), node("n2", 4, backend="ray-b")),
        (job("job-a", 8),),
        {},
    ),
    Case(
        "never over two kinds of GPU: it steps at the pace of the slowest",
        (node("n1", 4, accelerator="A100"), node("n2", 4, accelerator="H100")),
        (job("job-a", 8),),
        {},
    ),
    Case(
        "a worker is not split: 3 and 1 free GPUs hold one pair",
        (node("n1", 3), node("n2", 1)),
        (job("job-a", 2, gpus=2),),
        {},
    ),
    Case("cores are as good a reason", (node("n1", 8, cpus=4.0),), (job("job-a", cpus=5.0),), {}),
    Case("memory, too", (node("n1", 8, memory_gb=4),), (job("job-a", memory_gb=5),), {}),
)

PACKING = (
    Case(
        "the tightest node that will do, so that the whole one stays free",
        nodes(2),
        (running("job-r", "n2", gpus=6), job("job-a", 2)),
        {"job-a": {"n2": 2}},
    ),
    Case(
        "small ones share the broken node before they break another",
        nodes(3),
        (running("job-r", "n2", gpus=4), *(job(f"job-{n}", at=n) for n in range(4))),
        {f"job-{n}": {"n2": 1} for n in range(4)},
    ),
    Case(
        "a large one fills the roomiest and puts its rest on the tightest",
        nodes(3),
        (running("job-r", "n1", gpus=4), job("job-a", 12)),
        {"job-a": {"n2": 8, "n1": 4}},
    ),
    Case(
        "one node rather than two, whatever is broken",
        nodes(3),
        (running("job-r", "n1", gpus=6), running("job-s", "n2", gpus=6), job("job-a", 4)),
        {"job-a": {"n3": 4}},
    ),
    Case(
        "what needs no GPU goes where there is none",
        (node("n1", 8), node("n2", 0)),
        (job("job-a", gpus=0),),
        {"job-a": {"n2": 1}},
    ),
    Case(
        "the backend that needs fewer nodes",
        (
            *(node(f"a{n}", 4, backend="ray-a") for n in range(2)),
            node("b0", 8, backend="ray-b"),
        ),
        (job("job-a", 8),),
        {"job-a": {"b0": 8}},
    ),
)

WHERE_IT_MAY = (
    Case(
        "the kind of GPU it asks for",
        (node("n1", accelerator="A100"), node("n2", accelerator="H100")),
        (job("job-a", accelerator="H100"),),
        {"job-a": {"n2": 1}},
    ),
    Case(
        "all labels it asks for",
        (labelled("n1", zone="a"), labelled("n2", zone="a", disk="fast")),
        (job("job-a", node_labels={"zone": "a", "disk": "fast"}),),
        {"job-a": {"n2": 1}},
    ),
    Case(
        "without labels anywhere",
        (labelled("n1", zone="a"),),
        (job("job-a"),),
        {"job-a": {"n1": 1}},
    ),
    Case(
        "nowhere that takes no new work",
        (node("n1", is_schedulable=False), node("n2")),
        (job("job-a"),),
        {"job-a": {"n2": 1}},
    ),
    Case(
        "what others take of a node is not free",
        (node("n1", foreign=Resources(gpus=7)),),
        (job("job-a", 2),),
        {},
    ),
    Case(
        "a node it failed on twice is left out",
        nodes(2),
        (job("job-a", avoid=frozenset({"n1"})),),
        {"job-a": {"n2": 1}},
    ),
    Case(
        "unless nothing else is free",
        (node("n1", 8), node("n2", 1)),
        (running("job-r", "n2"), job("job-a", avoid=frozenset({"n1"}))),
        {"job-a": {"n1": 1}},
    ),
    Case(
        "a clean place in another backend comes before a bad one here",
        (node("n1", backend="ray-a"), node("n2", backend="ray-b")),
        (job("job-a", avoid=frozenset({"n1"})),),
        {"job-a": {"n2": 1}},
    ),
)


@pytest.mark.parametrize(
    "case", [*ALL_OR_NOTHING, *PACKING, *WHERE_IT_MAY], ids=lambda case: case.says
)
def test_placement(case: Case) -> None:
    assert started(plan(case.nodes, case.workloads)) == case.where


def test_a_gang_of_a_node_that_is_overbooked_changes_nothing_for_others() -> None:
    """A node came back smaller: what is held there is more than it has."""
    workloads = (running("job-r", "n1", workers=8), job("job-a"))
    assert started(plan((node("n1", 4), node("n2", 1)), workloads)) == {"job-a": {"n2": 1}}
