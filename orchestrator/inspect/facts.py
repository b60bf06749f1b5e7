"""The base of facts that are written as JSON inside other records (the Plan holds most of them)."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Facts(BaseModel):
    """A frozen group of facts; as in a Record, unknown fields are ignored on reading."""

    model_config = ConfigDict(extra="ignore", frozen=True)
