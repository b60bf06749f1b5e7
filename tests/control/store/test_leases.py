from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from orchestrator.control.store import Database, Jobs, Lease, Leases
from tests.control.builders import Clock
from tests.control.store.builders import TIME, S, added, moved
from tests.control.store.conftest import NEVER
from tests.control.store.postgres import somebody_waits_for_a_lock


@pytest.fixture
def leases(database: Database) -> Leases:
    return Leases(database)


def test_one_holder_at_a_time(leases: Leases) -> None:
    first = leases.acquire("controller", "a", 10)

    assert first == Lease("controller", "a", token=1, expires_at=TIME + 10, ttl_seconds=10)
    assert leases.acquire("controller", "b", 10) is None
    other = leases.acquire("janitor", "b", 10)
    assert other is not None
    assert other.token == 1


def test_a_standby_takes_over_when_the_time_is_up(leases: Leases, clock: Clock) -> None:
    first = leases.acquire("controller", "a", 10)
    assert first is not None
    clock.now += 9.99
    assert leases.acquire("controller", "b", 10) is None
    clock.now += 0.01

    second = leases.acquire("controller", "b", 10)

    assert second == Lease("controller", "b", token=2, expires_at=TIME + 20, ttl_seconds=10)
    assert leases.renew(first) is None
    assert leases.acquire("controller", "a", 10) is None


def test_renewing_gives_all_the_time_again(leases: Leases, clock: Clock) -> None:
    lease = leases.acquire("controller", "a", 10)
    assert lease is not None
    clock.now += 6
    lease = leases.renew(lease)
    assert lease == Lease("controller", "a", token=1, expires_at=TIME + 16, ttl_seconds=10)
    clock.now += 9
    assert leases.acquire("controller", "b", 10) is None
    clock.now += 1
    assert leases.renew(lease) is None, "it has expired, though nobody else took it"


def test_a_released_lease_is_free_at_once(leases: Leases) -> None:
    first = leases.acquire("controller", "a", 10)
    assert first is not None
    leases.release(first)
    assert leases.renew(first) is None

    second = leases.acquire("controller", "b", 10)
    assert second is not None
    leases.release(first)  # too late, and another's by now

    assert second.token == 2
    assert leases.renew(second) == second


def test_the_same_holder_gets_it_again_with_a_new_token(leases: Leases) -> None:
    """As after a commit whose answer was lost."""
    first = leases.acquire("controller", "a", 10)
    again = leases.acquire("controller", "a", 10)

    assert first is not None
    assert again is not None
    assert again.token == 2
    assert leases.renew(first) is None


def test_of_many_who_ask_at_once_one_gets_it(leases: Leases, other: Database, clock: Clock) -> None:
    together = Barrier(8)
    theirs = Leases(other)

    def ask(number: int) -> Lease | None:
        together.wait()
        return (leases if number % 2 else theirs).acquire("controller", str(number), 10)

    for turn in range(1, 6):
        with ThreadPoolExecutor(8) as pool:
            got = [lease for lease in pool.map(ask, range(8)) if lease is not None]
        assert [lease.token for lease in got] == [turn]
        clock.now += 10


def test_a_next_holder_begins_after_what_the_former_one_is_writing(
    shared_address: str, clock: Clock
) -> None:
    first, second = (Database.open(shared_address, clock=clock, retry=NEVER) for _ in range(2))
    job = added(Jobs(first), 201)
    lease = Leases(first).acquire("writer", "a", 10)
    with ThreadPoolExecutor(1) as pool:
        with first.transaction():
            changed = Jobs(first).apply(moved(job, S.STARTING), lease)
            clock.now += 10
            taken = pool.submit(Leases(second).acquire, "writer", "b", 10)
            while not (taken.done() or somebody_waits_for_a_lock(shared_address)):
                pass
            assert not taken.done()
        assert taken.result() is not None

    assert Jobs(second).get(job.id) == changed
    first.close()
    second.close()


def test_by_the_databases_own_clock(address: str) -> None:
    database = Database.open(address, retry=NEVER)
    leases = Leases(database)
    now = database.now()

    first = leases.acquire("controller", "a", 3600)
    assert first is not None
    assert 3600 <= first.expires_at - now < 3660
    assert leases.acquire("controller", "b", 3600) is None
    renewed = leases.renew(first)
    assert renewed is not None
    assert renewed.expires_at >= first.expires_at
    leases.release(renewed)
    second = leases.acquire("controller", "b", 3600)
    assert second is not None
    assert second.token == 2
    database.close()
