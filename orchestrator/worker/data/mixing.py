"""Orders of an epoch that mix domains: drawn by quotas, in stages, with rows of others replayed.

How many rows each domain gives is `inspect.mixing`'s, so that the plan counts the same. A domain's
rows are drawn without repeats until all were, over the bounds of epochs. Called by the training
function.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from orchestrator.inspect.mixing import (
    domain_quotas,
    replayed_before,
    rows_with_replay,
    stage_shares,
)
from orchestrator.specs.mixing import MixingSpec
from orchestrator.worker.data.orders import EpochOrder, Shuffled, generator_of

Key = tuple[object, ...]


@dataclass(frozen=True, eq=False, slots=True)
class Pool:
    """Rows to draw from, pass after pass; with several classes each is drawn equally often."""

    key: Key  # what its order depends on
    classes: tuple[np.ndarray, ...]  # rows of each class, or all rows as one

    @property
    def size(self) -> int:
        """Rows of one pass: every row of the largest class once."""
        return len(self.classes) * max(len(rows) for rows in self.classes)

    def take(self, start: int, count: int) -> np.ndarray:
        """`count` draws from the `start`-th on."""
        return _cut(self._one_pass, self.size, start, count)

    def _one_pass(self, number: int) -> np.ndarray:
        if len(self.classes) == 1:
            return self._shuffled(0, number)
        most = max(len(rows) for rows in self.classes)
        drawn = [
            _cut(partial(self._shuffled, which), len(rows), number * most, most)
            for which, rows in enumerate(self.classes)
        ]
        together = np.concatenate(drawn)
        return together[generator_of(*self.key, "pass", number).permutation(len(together))]

    def _shuffled(self, which: int, number: int) -> np.ndarray:
        rows = self.classes[which]
        return rows[generator_of(*self.key, which, number).permutation(len(rows))]


def _cut(one_pass: Callable[[int], np.ndarray], size: int, start: int, count: int) -> np.ndarray:
    """A piece of endless passes of equal size."""
    if not count:
        return np.zeros(0, dtype=np.int64)
    first, last = start // size, (start + count - 1) // size
    passes = [one_pass(number) for number in range(first, last + 1)]
    begin = start - first * size
    return np.concatenate(passes)[begin : begin + count]


@dataclass(frozen=True, eq=False, slots=True)
class Mixed:
    """A quota of every pool in each epoch, shuffled together."""

    key: Key
    pools: tuple[Pool, ...]
    quotas: tuple[int, ...]

    @property
    def num_rows(self) -> int:
        return sum(self.quotas)

    def rows(self, epoch: int) -> np.ndarray:
        drawn = [
            pool.take(epoch * quota, quota)
            for pool, quota in zip(self.pools, self.quotas, strict=True)
        ]
        together = np.concatenate(drawn)
        return together[generator_of(*self.key, "epoch", epoch).permutation(len(together))]


@dataclass(frozen=True, eq=False, slots=True)
class Curriculum:
    """Pools one after the other, each until its bound, counted in rows over all epochs."""

    num_rows: int
    pools: tuple[Pool, ...]
    bounds: tuple[int, ...]  # of every stage but the last, which has no end

    def rows(self, epoch: int) -> np.ndarray:
        first, last = epoch * self.num_rows, (epoch + 1) * self.num_rows
        starts, ends = (0, *self.bounds), (*self.bounds, max(last, *self.bounds, 0))
        drawn = []
        for pool, start, end in zip(self.pools, starts, ends, strict=True):
            begin, until = max(first, start), min(last, end)
            if begin < until:
                drawn.append(pool.take(begin - start, until - begin))
        return np.concatenate(drawn)


@dataclass(frozen=True, eq=False, slots=True)
class Replayed:
    """Another order with rows of a pool strewn evenly among its own."""

    inner: EpochOrder
    pool: Pool
    fraction: float

    @property
    def num_rows(self) -> int:
        return rows_with_replay(self.inner.num_rows, self.fraction)

    def rows(self, epoch: int) -> np.ndarray:
        size = self.num_rows
        before = np.array([replayed_before(at, self.fraction) for at in range(size + 1)])
        is_replayed = np.diff(before) > 0
        mixed = np.empty(size, dtype=np.int64)
        mixed[~is_replayed] = self.inner.rows(epoch)
        replays = int(before[-1])
        mixed[is_replayed] = self.pool.take(epoch * replays, replays)
        return mixed


@dataclass(slots=True)
class Remembered:
    """An order whose last epoch is kept: it is asked for with every batch."""

    order: EpochOrder
    _epochs: dict[int, np.ndarray] = field(default_factory=dict)

    @property
    def num_rows(self) -> int:
        return self.order.num_rows

    def rows(self, epoch: int) -> np.ndarray:
        if epoch not in self._epochs:
            rows = self.order.rows(epoch)
            rows.setflags(write=False)
            self._epochs = {epoch: rows}
        return self._epochs[epoch]


@dataclass(frozen=True, slots=True)
class Learned:
    """The rows a job learns from: those of one domain after those of another."""

    digest: str
    domains: Mapping[str, range]
    classes: np.ndarray | None = None  # of each row, where rows have one


def mixed_order(
    mixing: MixingSpec | None,
    learned: Learned,
    seed: int,
    global_batch_size: int,
    num_steps: Callable[[int], int],
) -> EpochOrder:
    """The order of a job's rows.

    Args:
        mixing: The spec's; absent: every row once an epoch.
        learned: The rows, those of domains to replay last.
        seed: The spec's.
        global_batch_size: Rows of a step, by which stages begin.
        num_steps: Steps of an epoch -> steps of the whole training.
    """
    mixing = mixing or MixingSpec()
    replayed = mixing.replay.domains if mixing.replay is not None else ()
    domains = {name: rows for name, rows in learned.domains.items() if name not in replayed}
    total = sum(map(len, domains.values()))
    if mixing == MixingSpec():
        return Shuffled(learned.digest, seed, total)
    maker = _Maker(mixing, learned, seed)
    quotas = domain_quotas(mixing, {name: maker.counts(rows) for name, rows in domains.items()})
    fraction = mixing.replay.fraction if mixing.replay is not None else 0.0
    inner: EpochOrder
    if mixing.strategy == "curriculum":
        stages = mixing.stages or ()
        cut = _Cut(sum(quotas), fraction, global_batch_size)
        bounds = cut.bounds(stage_shares(stages), num_steps)
        inner = Curriculum(
            cut.num_rows,
            tuple(
                maker.pool(f"stage-{number}", [domains[name] for name in stage.domains])
                for number, stage in enumerate(stages)
            ),
            bounds,
        )
    else:
        pools = tuple(maker.pool(name, [rows]) for name, rows in domains.items())
        inner = Mixed(maker.key, pools, tuple(quotas))
    if replayed:
        pool = maker.pool("replay", [learned.domains[name] for name in replayed])
        inner = Replayed(inner, pool, fraction)
    return Remembered(inner)


@dataclass(frozen=True, slots=True)
class _Maker:
    mixing: MixingSpec
    learned: Learned
    seed: int

    @property
    def key(self) -> Key:
        return (self.learned.digest, self.seed)

    def counts(self, rows: range) -> dict[str, int]:
        if self.learned.classes is None or not self.mixing.balance_classes:
            return {"": len(rows)}
        classes, counts = np.unique(self.learned.classes[rows], return_counts=True)
        return {str(name): int(count) for name, count in zip(classes, counts, strict=True)}

    def pool(self, name: str, domains: Sequence[range]) -> Pool:
        rows = np.concatenate([np.arange(part.start, part.stop) for part in domains])
        classes = self.learned.classes
        if classes is None or not self.mixing.balance_classes:
            return Pool((*self.key, name), (rows,))
        of_rows = classes[rows]
        return Pool((*self.key, name), tuple(rows[of_rows == each] for each in np.unique(of_rows)))


@dataclass(frozen=True, slots=True)
class _Cut:
    """Where steps begin among the rows of an order that others may be strewn into."""

    num_rows: int  # of an epoch, without those replayed
    fraction: float
    global_batch_size: int

    @property
    def all_rows(self) -> int:
        return rows_with_replay(self.num_rows, self.fraction) if self.fraction else self.num_rows

    def bounds(self, shares: Sequence[float], num_steps: Callable[[int], int]) -> tuple[int, ...]:
        per_epoch = -(-self.all_rows // self.global_batch_size)
        total = num_steps(per_epoch)
        ends = np.cumsum(shares)[:-1]
        return tuple(self._rows_before(round(float(end) * total), per_epoch) for end in ends)

    def _rows_before(self, step: int, per_epoch: int) -> int:
        epoch, k = divmod(step, per_epoch)
        into = min(k * self.global_batch_size, self.all_rows)
        own = into - (replayed_before(into, self.fraction) if self.fraction else 0)
        return epoch * self.num_rows + own
