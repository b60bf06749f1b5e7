"""Two jobs side by side, as values: what differs in what went in, and what came out. Pure.

Called by `compare`, shown by `compareview`. `a` and `b` are the two jobs throughout.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from orchestrator.specs.metrics import FLOORS, METRICS_TO_MINIMIZE

if TYPE_CHECKING:
    from orchestrator.interfaces.wire import JobView, SpecView
    from orchestrator.records import Outcome, Point

Curve = tuple[tuple[int, float], ...]
"""(step, value), by step."""


@dataclass(frozen=True, slots=True)
class Side:
    """What is known of one job."""

    job: JobView
    spec: SpecView
    outcome: Outcome | None = None  # of the newest Attempt that was measured
    points: tuple[Point, ...] = ()  # of all Attempts, in their order
    packages: Mapping[str, str] = field(default_factory=dict)  # name -> version, of its workers


@dataclass(frozen=True, slots=True)
class Difference:
    """A field that is not the same; None: one of them has it not."""

    path: str
    a: Any
    b: Any


@dataclass(frozen=True, slots=True)
class Measured:
    """One metric of both, on one domain's test split."""

    domain: str
    metric: str
    a: float | None
    b: float | None
    overlap: bool | None  # of the 95 % intervals; None: not both have one

    @property
    def change(self) -> float | None:
        return None if self.a is None or self.b is None else self.b - self.a

    @property
    def is_better(self) -> bool | None:
        """Whether b is better than a; None where they cannot be compared or are equal."""
        if not self.change:
            return None
        return (self.change < 0) == (self.metric in METRICS_TO_MINIMIZE)


@dataclass(frozen=True, slots=True)
class Comparison:
    """Everything that is told."""

    spec: tuple[Difference, ...]
    data: tuple[Difference, ...]
    environment: tuple[Difference, ...]
    curves: Mapping[str, tuple[Curve, Curve]]
    metrics: tuple[Measured, ...]

    def document(self) -> dict[str, Any]:
        """For programs; docs/cli.md describes it."""
        return {
            "spec": [asdict(found) for found in self.spec],
            "data": [asdict(found) for found in self.data],
            "environment": [asdict(found) for found in self.environment],
            "curves": {name: {"a": a, "b": b} for name, (a, b) in self.curves.items()},
            "metrics": [{**asdict(m), "change": m.change} for m in self.metrics],
        }


def compared(a: Side, b: Side) -> Comparison:
    """How two jobs differ."""
    return Comparison(
        spec=differences(*(_spec_of(side) for side in (a, b))),
        data=differences(*(_data_of(side) for side in (a, b))),
        environment=differences(*_environments(a, b)),
        curves=_curves(a.points, b.points),
        metrics=tuple(_measured(a.outcome, b.outcome)),
    )


def differences(a: Mapping[str, Any], b: Mapping[str, Any]) -> tuple[Difference, ...]:
    """What is not equal, in a's order and then in b's."""
    return tuple(
        Difference(path, a.get(path), b.get(path))
        for path in dict.fromkeys((*a, *b))
        if a.get(path) != b.get(path)
    )


def flattened(value: Any, path: str = "") -> dict[str, Any]:
    """path -> scalar, paths as error messages have them: `data.domains.camera.train[0].path`."""
    if isinstance(value, Mapping) and value:
        steps = ((f"{path}.{key}" if path else str(key), item) for key, item in value.items())
    elif isinstance(value, list | tuple) and any(isinstance(i, Mapping | list) for i in value):
        steps = ((f"{path}[{number}]", item) for number, item in enumerate(value))
    else:
        return {path: value}
    return {name: leaf for step, item in steps for name, leaf in flattened(item, step).items()}


def _spec_of(side: Side) -> dict[str, Any]:
    resolved = side.spec.spec.model_dump(mode="json", exclude_none=True)
    return flattened({**resolved["spec"], "metadata": resolved["metadata"]})


def _data_of(side: Side) -> dict[str, str]:
    """Digests of what was read: data by domain and split, the base, the user's code."""
    identity = side.spec.identity
    found = {"base": identity.base, **identity.data}
    return found if identity.code is None else {**found, "code": identity.code}


def _environments(a: Side, b: Side) -> list[dict[str, str]]:
    """The recipe, the commit, and versions of packages where what both published tells them."""
    found = [{"recipe": side.spec.identity.recipe} for side in (a, b)]
    for side, told in zip((a, b), found, strict=True):
        if side.spec.git_commit is not None:
            told["git commit"] = side.spec.git_commit
        if a.packages and b.packages:
            told.update(side.packages)
    return found


def _curves(a: Iterable[Point], b: Iterable[Point]) -> dict[str, tuple[Curve, Curve]]:
    """By name, `loss` first; a step that was trained twice has its later value."""
    both = [_by_name(points) for points in (a, b)]
    names = sorted({*both[0], *both[1]}, key=lambda name: (name != "loss", "/" not in name, name))
    return {
        name: (
            tuple(sorted(both[0].get(name, {}).items())),
            tuple(sorted(both[1].get(name, {}).items())),
        )
        for name in names
    }


def _by_name(points: Iterable[Point]) -> dict[str, dict[int, float]]:
    found: dict[str, dict[int, float]] = {}
    for point in points:
        for name, value in point.metrics.items():
            found.setdefault(name, {})[point.step] = value
    return found


def _measured(a: Outcome | None, b: Outcome | None) -> Iterator[Measured]:
    both = [{} if outcome is None else outcome.metrics for outcome in (a, b)]
    for domain in dict.fromkeys((*both[0], *both[1])):
        rows = [metrics.get(domain, {}) for metrics in both]
        names = [n for n in dict.fromkeys((*rows[0], *rows[1])) if _is_metric(n, rows)]
        for name in names:
            values = [_number(row.get(name)) for row in rows]
            overlap = _overlap([row.get("intervals", {}).get(name) for row in rows])
            yield Measured(domain, name, values[0], values[1], overlap)


def _is_metric(name: str, rows: Sequence[Mapping[str, Any]]) -> bool:
    """Floors and counts belong to the data, not to the model."""
    if name.startswith((*(f"{floor}_" for floor in FLOORS), "num_", "label_", "threshold")):
        return False
    return any(_number(row.get(name)) is not None for row in rows)


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def _overlap(intervals: Sequence[Sequence[float] | None]) -> bool | None:
    if any(interval is None for interval in intervals):
        return None
    (low, high), (other_low, other_high) = (tuple(i or ()) for i in intervals)
    return low <= other_high and other_low <= high
