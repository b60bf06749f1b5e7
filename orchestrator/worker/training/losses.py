"""Which rank of a gang died, from what Ray Train tells of its end. Pure; called by `launch`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

_FOUND_DEAD = "WorkerHealthCheck"  # …FailedError, …TimeoutError: what Train says, not the rank
_NODE_DIED = ("node has died", "node was terminated", "node died", "node failure")


@dataclass(frozen=True, slots=True)
class LostRank:
    """A rank that could not tell its end itself."""

    rank: int
    is_certain: bool  # its process ended, and its node is there
    told: str = ""

    @property
    def message(self) -> str:
        return f"the process of worker {self.rank} died: it was killed, or its machine was lost"


def lost_rank(failures: Mapping[int, BaseException], workers: int) -> LostRank:
    """The first rank that died.

    Args:
        failures: rank -> what Train was told by a rank that raised, or found out about one.
        workers: Of the gang.
    """
    # Ranks that raised are alive: they told their own story, or only lost the ones that died.
    dead = {r: f for r, f in failures.items() if type(f).__name__.startswith(_FOUND_DEAD)}
    if dead:
        rank, failure = min(dead.items(), key=lambda found: found[0])
        is_node = any(text in str(failure).lower() for text in _NODE_DIED)
        return LostRank(rank, not is_node, str(failure))
    # A process that ends on a node that lives is noticed at once. Who is only silent is on a node
    # that died a moment ago: Ray finds that out later than the other ranks do.
    silent = [rank for rank in range(workers) if rank not in failures]
    told = "; ".join(f"rank {rank}: {failure}" for rank, failure in sorted(failures.items()))
    return LostRank(min(silent, default=min(failures, default=0)), not silent, told)
