"""What every spec model shares: closed, immutable, and each field described.

Descriptions feed the JSON Schema, `orchestrator init` and the docs, so a field without one is a
defect (a test holds it).
"""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, StringConstraints, model_validator

NAME_PATTERN = r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"
"""A DNS label (RFC 1123): what Kubernetes, Ray submission ids and store prefixes all accept."""

DOMAIN_PATTERN = r"^[a-z0-9]([a-z0-9_-]{0,61}[a-z0-9])?$"
"""Domains become keys of metrics (`camera/macro_f1`) and of prefixes, but data sets are often
called `dvd_player`: an underscore is allowed, a slash, a dot or a space is not."""

DnsLabel = Annotated[str, StringConstraints(pattern=NAME_PATTERN)]
DomainName = Annotated[str, StringConstraints(pattern=DOMAIN_PATTERN)]


class SpecError(ValueError):
    """Two fields of one model contradict each other; raised by the models' own validators.

    Carries what a `Problem` needs beyond the message: the field to point at and what to write.
    """

    def __init__(self, message: str, *, field: str | None = None, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.field = field
        self.hint = hint


class SpecModel(BaseModel):
    """A closed, frozen piece of a spec: unknown fields are refused, NaN and infinity too."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=False
    )

    @model_validator(mode="before")
    @classmethod
    def _null_is_absent(cls, value: Any) -> Any:
        """`training:` with nothing below it is null in YAML; for a field that means absent.

        Unknown fields keep their null, so that they are still refused.
        """
        if isinstance(value, dict) and None in value.values():
            known = cls.model_fields
            return {k: v for k, v in value.items() if v is not None or k not in known}
        return value


def is_dns_label(text: str) -> bool:
    return re.fullmatch(NAME_PATTERN, text) is not None
