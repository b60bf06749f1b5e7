"""Texts that are nearly the same: copies with a word changed, a prefix, other punctuation.

Two texts are alike by the Jaccard similarity of their words and pairs of neighbouring words. Pairs
above a threshold are found without comparing all: two sets that share enough must share one of
their rarest members, so that only these are looked up (prefix filtering: Chaudhuri et al. 2006;
Bayardo et al. 2007, "Scaling up all pairs similarity search"). Unlike in MinHash nothing is drawn
at random and nothing estimated. Called by `inspect.leakage`; without numpy, which the control
plane does not have.
"""

from __future__ import annotations

import math
import re
from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise

THRESHOLD = 0.75
MOST_WORDS = 200  # of longer texts the first ones are compared
MOST_CANDIDATES = 100  # that one text is compared with: a template may fill thousands of rows

# A sign of Chinese, Japanese or Korean is a word of its own.
_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|[^\W_]+")

Words = tuple[str, ...]


def words_of(text: str) -> Words:
    """The first words of a text, without case and punctuation."""
    return tuple(_WORD.findall(text.lower())[:MOST_WORDS])


def near_pairs(texts: Sequence[Words], threshold: float = THRESHOLD) -> Iterator[tuple[int, int]]:
    """Positions of different texts that are at least so alike, each pair once.

    Among thousands of texts of one template some pairs are left out; every one of them still has
    partners.
    """
    sets = _member_sets(texts)
    listed: dict[int, list[int]] = {}
    for place in sorted(range(len(sets)), key=lambda place: (len(sets[place]), place)):
        members = sets[place]
        size = len(members)
        shortest = math.ceil(threshold * size)
        rare = members[: size - shortest + 1]
        candidates = _candidates(listed, rare, sets, shortest)
        if candidates:
            mine = set(members)
            for other in candidates:
                shared = len(mine.intersection(sets[other]))
                if shared >= threshold * (size + len(sets[other]) - shared):
                    yield other, place
        for member in rare:
            listed.setdefault(member, []).append(place)


def _candidates(
    listed: dict[int, list[int]],
    rare: Sequence[int],
    sets: Sequence[Sequence[int]],
    shortest: int,
) -> list[int]:
    """Texts that share a rare member and are long enough, those with the rarest first."""
    found: dict[int, None] = {}
    for member in rare:
        for other in reversed(listed.get(member, ())):
            if len(sets[other]) >= shortest:
                found[other] = None
                if len(found) == MOST_CANDIDATES:
                    return list(found)
    return list(found)


def _member_sets(texts: Sequence[Words]) -> list[Sequence[int]]:
    """Words and pairs of each text as numbers, the rarest first."""
    numbers: dict[str | tuple[str, str], int] = {}
    sets: list[set[int]] = []
    for words in texts:
        members = {numbers.setdefault(word, len(numbers)) for word in words}
        members.update(numbers.setdefault(pair, len(numbers)) for pair in pairwise(words))
        sets.append(members)
    counts = Counter(member for members in sets for member in members)
    rank = [0] * len(numbers)
    for place, (member, _) in enumerate(sorted(counts.items(), key=lambda c: (c[1], c[0]))):
        rank[member] = place
    return [array("q", sorted(rank[member] for member in members)) for members in sets]
