"""K-shot curves from what was measured at each point and seed: means, intervals, paired gains.

Seeds draw the same rows for every start, so that starts are compared pair by pair. Intervals are
Student's (Student 1908) over seeds at 95 %: they tell of the draw of the rows, not of the test
split, which is the same for all.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean, stdev
from typing import Any

from scipy.stats import t

from orchestrator.worker.evaluation.resampling import CONFIDENCE

PUBLISHED = "published"
MEAN = "mean"

Measured = Mapping[tuple[str, str, int], Sequence[Mapping[str, float]]]
"""(start, domain, shots) -> metrics, one entry a seed."""


def curves(measured: Measured, metrics: Sequence[str]) -> list[dict[str, Any]]:
    """One entry for each domain, start and number of shots.

    With several domains there is another one, `mean`: for each seed the mean over the domains.
    """
    whole = {**measured, **_over_domains(measured, metrics)}
    return [
        {
            "domain": domain,
            "start": start,
            "shots": shots,
            "metrics": {name: summary(_values(entries, name)) for name in metrics},
            **_gains(whole, (start, domain, shots), metrics),
        }
        for (start, domain, shots), entries in whole.items()
    ]


def summary(values: Sequence[float]) -> dict[str, Any]:
    """Mean, its 95 % interval and the values themselves."""
    middle = fmean(values)
    half = quantile(len(values) - 1) * stdev(values) / math.sqrt(len(values))
    return {"mean": middle, "interval": [middle - half, middle + half], "values": list(values)}


def quantile(degrees: int) -> float:
    """Student's t: 97.5 % of its mass is below."""
    return float(t.ppf((1 + CONFIDENCE) / 2, degrees))


def _gains(measured: Measured, key: tuple[str, str, int], metrics: Sequence[str]) -> dict[str, Any]:
    """What the published weights gain over the other starts at a point, seed by seed."""
    start, domain, shots = key
    if start != PUBLISHED:
        return {}
    mine = measured[key]
    found = {}
    for other, their_domain, their_shots in measured:
        if other == PUBLISHED or (their_domain, their_shots) != (domain, shots):
            continue
        theirs = measured[other, domain, shots]
        found[other] = {
            name: summary(
                [a - b for a, b in zip(_values(mine, name), _values(theirs, name), strict=True)]
            )
            for name in metrics
        }
    return {"gain": found}


def _over_domains(measured: Measured, metrics: Sequence[str]) -> dict[Any, Any]:
    domains = list(dict.fromkeys(domain for _, domain, _ in measured))
    if len(domains) < 2:
        return {}
    points = dict.fromkeys((start, shots) for start, _, shots in measured)
    return {
        (start, MEAN, shots): list(
            _means([measured[start, domain, shots] for domain in domains], metrics)
        )
        for start, shots in points
    }


def _means(
    of_domains: Sequence[Sequence[Mapping[str, float]]], metrics: Sequence[str]
) -> Iterator[dict[str, float]]:
    for entries in zip(*of_domains, strict=True):
        yield {name: fmean(entry[name] for entry in entries) for name in metrics}


def _values(entries: Sequence[Mapping[str, float]], name: str) -> list[float]:
    return [float(entry[name]) for entry in entries]
