"""A service of real processes under load, while its servers and its database are killed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.control.service.checks import check_all
from tests.control.service.outages import TAKEOVER_SECONDS
from tests.control.service.scenarios import SCENARIOS
from tests.control.store.postgres import postgres_folder


@pytest.mark.cluster
def test_a_server_on_sqlite_that_is_killed_loses_and_doubles_nothing(tmp_path: Path) -> None:
    with SCENARIOS["server"](tmp_path, 30, 2, 0) as (lived, database):
        check_all(lived, database)
    assert lived.killed == 2


@pytest.mark.cluster
@pytest.mark.skipif(postgres_folder() is None, reason="no PostgreSQL server")
def test_a_standby_takes_over_and_a_database_that_is_killed_loses_nothing(tmp_path: Path) -> None:
    with SCENARIOS["both"](tmp_path, 30, 2, 0) as (lived, database):
        check_all(lived, database)
    assert lived.killed == 2
    (seconds,) = lived.takeovers
    assert seconds < TAKEOVER_SECONDS
