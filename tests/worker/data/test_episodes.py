"""Episodes: the same for all time, every domain in turn, no row twice."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from orchestrator.worker.data.episodes import EpisodeNumbers, Episodes, few_of_each
from orchestrator.worker.data.orders import generator_of

TARGETS = np.array([0, 1] * 10 + [0, 1, 2] * 6)
EPISODES = Episodes(
    domains={"camera": np.arange(20), "movie": np.arange(20, 38)},
    targets=TARGETS,
    digest="digest",
    seed=1,
    shots=2,
    query=3,
)


def test_an_episode_is_fixed_for_all_time() -> None:
    # Written out: a change here would make resumed runs learn other episodes than they began with.
    episode = EPISODES.episode(0)
    assert episode.domain == "camera"
    assert episode.support.tolist() == [2, 4, 5, 9]
    assert episode.seed == EPISODES.episode(0).seed
    assert replace(EPISODES, seed=2).episode(0).seed != episode.seed


def test_domains_take_turns() -> None:
    found = [EPISODES.episode(number).domain for number in range(20)]
    assert all(set(found[at : at + 2]) == {"camera", "movie"} for at in range(0, 20, 2))
    assert len({tuple(found[at : at + 2]) for at in range(0, 20, 2)}) == 2, "in an order of its own"


@pytest.mark.parametrize("number", range(6))
def test_an_episode_has_so_many_rows_of_each_class_of_its_domain(number: int) -> None:
    episode = EPISODES.episode(number)
    rows = EPISODES.domains[episode.domain]
    assert not set(episode.support) & set(episode.query)
    assert set(episode.support) | set(episode.query) <= set(rows)
    for chosen, count in ((episode.support, 2), (episode.query, 3)):
        assert np.bincount(TARGETS[chosen])[np.unique(TARGETS[rows])].tolist() == (
            [count] * len(np.unique(TARGETS[rows]))
        )


@pytest.mark.parametrize(
    ("there", "few", "more"), [(5, 2, 3), (4, 1, 3), (3, 1, 2), (2, 1, 1), (1, 1, 0)]
)
def test_a_class_with_fewer_rows_gives_what_it_has(there: int, few: int, more: int) -> None:
    targets = np.zeros(there, dtype=np.int64)
    found = few_of_each(np.arange(there), targets, 2, 3, generator_of("x"))
    assert [len(rows) for rows in found] == [few, more]


def test_more_shots_hold_the_rows_of_fewer() -> None:
    drawn = [
        set(few_of_each(np.arange(20), TARGETS[:20], shots, 0, generator_of("x"))[0].tolist())
        for shots in (2, 4, 8)
    ]
    assert drawn[0] < drawn[1] < drawn[2]


def test_an_epoch_holds_the_numbers_of_its_episodes() -> None:
    assert EpisodeNumbers(3).rows(2).tolist() == [6, 7, 8]
