"""Chat messages: lists of who says what, kept as one canonical JSON text a row.

Called by `inspect.values`, and by the worker, which puts them into the model's chat template.
"""

from __future__ import annotations

import json
from typing import Any

SPEAKERS = ("system", "user", "assistant", "tool")
LEARNED = "assistant"
"""What it says is learned; the rest is read."""


class BadMessages(ValueError):
    """What is no conversation."""


def canonical_messages(value: Any) -> str:
    """The JSON of a list of `{"role", "content"}`; a text is taken as JSON of one.

    Raises:
        BadMessages: Something else, or nothing in it to learn.
    """
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            raise BadMessages("holds text that is no JSON list of messages") from None
    if not isinstance(value, list):
        raise BadMessages("holds no list of messages")
    messages = [_message(entry, number) for number, entry in enumerate(value, start=1)]
    if not any(message["role"] == LEARNED for message in messages):
        raise BadMessages(f"has no message of the {LEARNED}, so there is nothing to learn")
    return json.dumps(messages, ensure_ascii=False)


def messages_of(text: str) -> list[dict[str, str]]:
    """What `canonical_messages` made the text of."""
    found: list[dict[str, str]] = json.loads(text)
    return found


def _message(entry: Any, number: int) -> dict[str, str]:
    if not isinstance(entry, dict):
        raise BadMessages(f"message {number} is no object")
    role, content = entry.get("role"), entry.get("content")
    if role not in SPEAKERS:
        raise BadMessages(f"message {number} has the role {role!r}, not one of {_list(SPEAKERS)}")
    if not isinstance(content, str) or not content.strip():
        raise BadMessages(f"message {number} has no content")
    return {"role": role, "content": content}


def _list(names: tuple[str, ...]) -> str:
    return ", ".join(names)
