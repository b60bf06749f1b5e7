"""All entries of what the server hands out in pages."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeVar

from orchestrator.interfaces.client.connection import Connection
from orchestrator.interfaces.wire import Page

T = TypeVar("T")

PAGE_SIZE = 200


def all_pages(connection: Connection, path: str, kind: type[T], **query: Any) -> Iterator[T]:
    """One after the other; a page is asked for when it is reached."""
    cursor: str | None = None
    while True:
        asked = {**query, "cursor": cursor, "limit": PAGE_SIZE}
        page: Page[T] = connection.get(path, Page[kind], **asked)  # type: ignore[valid-type]
        yield from page.items
        if page.next is None:
            return
        cursor = page.next
