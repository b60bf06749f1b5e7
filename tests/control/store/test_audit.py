from __future__ import annotations

import pytest

from orchestrator.control.store import Audit, Database, Page
from orchestrator.errors import UserError
from orchestrator.records import AuditEntry
from tests.control.store.builders import TIME


def an_entry(number: int, team: str = "vision") -> AuditEntry:
    return AuditEntry(
        time=TIME + number,
        principal="ada",
        team=team,
        action="POST /api/v1/jobs",
        target=f"job-{number}",
        status=201,
    )


def test_the_newest_first_by_page(database: Database) -> None:
    audit = Audit(database)
    entries = [an_entry(number, "speech" if number == 2 else "vision") for number in range(5)]
    for entry in entries:
        audit.add(entry)

    first, cursor = audit.list(Page(limit=2))
    audit.add(an_entry(9))
    second, later = audit.list(Page(limit=2, cursor=cursor))
    last, end = audit.list(Page(limit=2, cursor=later))

    assert [*first, *second, *last] == entries[::-1]
    assert end is None
    assert audit.list(Page(), team="speech") == ([entries[2]], None)


@pytest.mark.parametrize("cursor", ["x", "-1", "", "1e3"])
def test_a_cursor_is_what_a_page_gave(database: Database, cursor: str) -> None:
    with pytest.raises(UserError, match="is no cursor"):
        Audit(database).list(Page(cursor=cursor))
