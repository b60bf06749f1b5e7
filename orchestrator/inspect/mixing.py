"""How many rows of each domain an epoch draws: arithmetic that plan, preview and workers share.

Pure. Which rows these are, and in which order, is the worker's (`worker.data.mixing`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from orchestrator.specs.data import DataSpec, training_domains
from orchestrator.specs.mixing import MixingSpec, StageSpec

ClassCounts = Mapping[str, int]
"""label -> rows; a single entry where rows have no classes."""

ClassShares = Mapping[str, float]

_EPSILON = 1e-9  # fractions such as 0.2 are a little more or less than what is meant


@dataclass(frozen=True, slots=True)
class Draw:
    """What a domain contributes to an epoch; of a curriculum, to an epoch on average."""

    domain: str
    rows: int  # that it has
    drawn: int
    labels: Mapping[str, float] = field(default_factory=dict)  # label -> how often it is drawn
    replayed: bool = False


def epoch_draws(data: DataSpec, counts: Mapping[str, ClassCounts]) -> tuple[Draw, ...]:
    """Every domain that is drawn from, in order; their `drawn` add up to the rows of an epoch.

    Args:
        data: Checked.
        counts: domain -> label -> rows of its train split.
    """
    mixing = data.mixing or MixingSpec()
    learned = {name: counts[name] for name in training_domains(data) if name in counts}
    quotas = domain_quotas(mixing, learned)
    draws = _drawn(learned, quotas, _label_shares(mixing, learned, quotas), replayed=False)
    if mixing.replay is None:
        return draws
    fraction = mixing.replay.fraction
    rows = replayed_before(rows_with_replay(sum(quotas), fraction), fraction)
    pool = {name: counts[name] for name in mixing.replay.domains if name in counts}
    shares = pool_shares(pool, balanced=mixing.balance_classes)
    of_domains = apportioned(rows, [sum(shares[name].values()) for name in pool])
    return (*draws, *_drawn(pool, of_domains, _scaled(shares, rows), replayed=True))


def epoch_rows(draws: Iterable[Draw]) -> int:
    """Rows of one epoch."""
    return sum(draw.drawn for draw in draws)


def drawn_labels(draws: Iterable[Draw]) -> dict[str, float]:
    """label -> how often an epoch draws it, over all domains."""
    found: dict[str, float] = {}
    for draw in draws:
        for label, times in draw.labels.items():
            found[label] = found.get(label, 0.0) + times
    return found


def balanced_weights(labels: Sequence[str], drawn: Mapping[str, float]) -> dict[str, float]:
    """label -> n / (k * n_label), as scikit-learn balances; 1 for one that is never drawn.

    Args:
        labels: Of the task.
        drawn: label -> how often it is drawn; n is the sum, k the labels that are drawn at all.
    """
    seen = {label: drawn[label] for label in labels if drawn.get(label)}
    total = sum(seen.values())
    return {
        label: round(total / (len(seen) * seen[label]), 6) if label in seen else 1.0
        for label in labels
    }


def domain_quotas(mixing: MixingSpec, counts: Mapping[str, ClassCounts]) -> list[int]:
    """Rows that an epoch draws of each domain of `counts`, without those replayed.

    As many in all as proportional mixing draws, so that an epoch stays as long.
    """
    size = balanced_size if mixing.balance_classes else lambda of: sum(of.values())
    sizes = {name: size(of_domain) for name, of_domain in counts.items()}
    weights: list[float]
    match mixing.strategy:
        case "proportional":
            return list(sizes.values())
        case "temperature":
            assert mixing.temperature is not None
            weights = [rows ** (1 / mixing.temperature) for rows in sizes.values()]
        case "equal":
            weights = [1.0] * len(sizes)
        case "weights":
            weights = [(mixing.weights or {}).get(name, 0.0) for name in sizes]
        case "curriculum":
            found = _in_stages(mixing, counts)
            weights = [sum(found[name].values()) for name in sizes]
    return apportioned(sum(sizes.values()), weights)


def pool_shares(
    counts: Mapping[str, ClassCounts], *, balanced: bool
) -> dict[str, dict[str, float]]:
    """domain -> label -> its share of what is drawn of domains together; all add up to 1."""
    of_label: dict[str, int] = {}
    for of_domain in counts.values():
        for label, rows in of_domain.items():
            of_label[label] = of_label.get(label, 0) + rows
    total = sum(of_label.values())
    classes = sum(rows > 0 for rows in of_label.values())
    return {
        name: {
            label: rows / (of_label[label] * classes if balanced else total)
            for label, rows in of_domain.items()
            if rows
        }
        for name, of_domain in counts.items()
    }


def balanced_size(counts: ClassCounts) -> int:
    """Rows of a domain once every class is drawn as often as the most frequent one."""
    present = [rows for rows in counts.values() if rows]
    return len(present) * max(present, default=0)


def stage_shares(stages: Sequence[StageSpec]) -> list[float]:
    """Share of the steps of each stage; they add up to 1."""
    return [1 / len(stages) if stage.share is None else stage.share for stage in stages]


def rows_with_replay(rows: int, fraction: float) -> int:
    """Rows of an epoch of which so many are not replayed."""
    total = math.floor(rows / (1 - fraction))
    while total - math.floor(total * fraction + _EPSILON) < rows:
        total += 1
    while total - 1 - math.floor((total - 1) * fraction + _EPSILON) >= rows:
        total -= 1
    return total


def replayed_before(position: int, fraction: float) -> int:
    """How many of the first rows of an epoch are replayed: their share of every batch, evenly."""
    return math.floor(position * fraction + _EPSILON)


def apportioned(total: int, weights: Sequence[float]) -> list[int]:
    """Whole numbers in the ratio of `weights` that add up to `total`: largest remainders first."""
    everything = sum(weights)
    if not everything:
        return [0] * len(weights)
    exact = [total * weight / everything for weight in weights]
    parts = [math.floor(share + _EPSILON) for share in exact]
    by_remainder = sorted(range(len(exact)), key=lambda at: (parts[at] - exact[at], at))
    for at in by_remainder[: total - sum(parts)]:
        parts[at] += 1
    return parts


def _label_shares(
    mixing: MixingSpec, counts: Mapping[str, ClassCounts], quotas: Sequence[int]
) -> dict[str, dict[str, float]]:
    """domain -> label -> how often an epoch draws it."""
    if mixing.strategy == "curriculum":
        return _scaled(_in_stages(mixing, counts), sum(quotas))
    balanced = mixing.balance_classes
    return {
        name: _scaled(pool_shares({name: counts[name]}, balanced=balanced), quota)[name]
        for name, quota in zip(counts, quotas, strict=True)
    }


def _in_stages(
    mixing: MixingSpec, counts: Mapping[str, ClassCounts]
) -> dict[str, dict[str, float]]:
    """domain -> label -> its share of all that a curriculum draws."""
    stages = mixing.stages or ()
    found: dict[str, dict[str, float]] = {name: {} for name in counts}
    for stage, share in zip(stages, stage_shares(stages), strict=True):
        pool = {name: counts[name] for name in stage.domains if name in counts}
        for name, labels in pool_shares(pool, balanced=mixing.balance_classes).items():
            for label, part in labels.items():
                found[name][label] = found[name].get(label, 0.0) + share * part
    return found


def _scaled(shares: Mapping[str, ClassShares], total: int) -> dict[str, dict[str, float]]:
    return {
        name: {label: part * total for label, part in labels.items()}
        for name, labels in shares.items()
    }


def _drawn(
    counts: Mapping[str, ClassCounts],
    drawn: Sequence[int],
    labels: Mapping[str, ClassShares],
    *,
    replayed: bool,
) -> tuple[Draw, ...]:
    return tuple(
        Draw(name, sum(of_domain.values()), times, labels[name], replayed)
        for (name, of_domain), times in zip(counts.items(), drawn, strict=True)
    )
