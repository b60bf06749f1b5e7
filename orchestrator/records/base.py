"""What every record shares: frozen, versioned by `format`, and tolerant of fields it does not know,
because server and worker images differ during an upgrade."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Record(BaseModel):
    """A frozen fact; unknown fields are ignored on reading."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    format: int = 1
