"""Means, Student's intervals and gains that are paired by seed."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from itertools import chain
from typing import Any

import pytest

from orchestrator.interfaces.cli.curveview import curves_table
from orchestrator.worker.evaluation.curves import curves, quantile, summary
from orchestrator.worker.publishing.adaptation import adaptation_chart, adaptation_section
from orchestrator.worker.training.k_shot import dealt


def entries(*values: float) -> list[dict[str, float]]:
    return [{"accuracy": value} for value in values]


MEASURED = {
    ("published", "tweet", 4): entries(0.8, 0.7, 0.9),
    ("plain", "tweet", 4): entries(0.6, 0.5, 0.7),
}


def document(measured: dict[tuple[str, str, int], list[dict[str, float]]]) -> dict[str, Any]:
    how = {"shots": [4], "steps": 10, "optimizer": "adam", "learning_rate": 1e-4, "seeds": 3}
    points = curves(measured, ["accuracy"])
    return {"metrics": ["accuracy"], "starts": ["published", "plain"], "how": how, "points": points}


def test_the_interval_is_students() -> None:
    # 0.7, 0.8, 0.9: deviation 0.1, so 4.30265 * 0.1 / sqrt(3) to each side.
    found = summary([0.7, 0.8, 0.9])
    assert found["mean"] == pytest.approx(0.8)
    assert found["interval"] == pytest.approx([0.8 - 0.248414, 0.8 + 0.248414], abs=1e-6)


@pytest.mark.parametrize(("degrees", "value"), [(4, 2.776), (9, 2.262), (60, 2.000), (99, 1.984)])
def test_quantiles_are_those_of_the_tables(degrees: int, value: float) -> None:
    assert quantile(degrees) == pytest.approx(value, abs=5e-4)


def test_gains_are_taken_seed_by_seed() -> None:
    published, plain = curves(MEASURED, ["accuracy"])
    gain = published["gain"]["plain"]["accuracy"]
    assert gain["mean"] == pytest.approx(0.2)
    assert gain["interval"] == pytest.approx([0.2, 0.2])  # the draws differ alike for both
    assert "gain" not in plain


def test_several_domains_have_a_mean_over_them() -> None:
    more = {
        ("published", "news", 4): entries(0.6, 0.5, 0.7),
        ("plain", "news", 4): entries(0.6, 0.5, 0.7),
    }
    found = {(p["domain"], p["start"]): p for p in curves({**MEASURED, **more}, ["accuracy"])}
    mean = found["mean", "published"]
    assert mean["metrics"]["accuracy"]["values"] == pytest.approx([0.7, 0.6, 0.8])
    assert mean["gain"]["plain"]["accuracy"]["mean"] == pytest.approx(0.1)


def test_card_chart_and_table_tell_every_point() -> None:
    found = document(MEASURED)
    row = "| tweet | 4 | 0.800 [0.552, 1.048] | 0.600 [0.352, 0.848] | +0.200 [+0.200, +0.200] |"
    assert row in adaptation_section(found)
    chart = ElementTree.fromstring(adaptation_chart(found))
    assert sum(element.tag.endswith("circle") for element in chart.iter()) == 2
    assert curves_table(found).row_count == 1


def test_work_is_dealt_by_what_it_costs() -> None:
    assert dealt([5, 3, 3, 1], 2) == [[0, 3], [1, 2]]
    assert dealt([1, 1, 1], 2, ahead=10) == [[], [0, 1, 2]]
    assert sorted(chain(*dealt([2, 9, 4, 4, 1], 3))) == [0, 1, 2, 3, 4]
