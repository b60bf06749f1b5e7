"""What every spec model shares: closed, immutable, and each field described.

Descriptions feed the JSON Schema, `orchestrator init` and the docs, so a field without one is a defect
(a test holds it).
"""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import BaseModel, ConfigDict, StringConstraints

NAME_PATTERN = r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"
"""A DNS label (RFC 1123): what Kubernetes, Ray submission ids and store prefixes all accept."""

DnsLabel = Annotated[str, StringConstraints(pattern=NAME_PATTERN)]

# Domains become keys of metrics (`camera/macro_f1`) and of prefixes, but data sets are often
# called `dvd_player`: an underscore is allowed, a slash, a dot or a space is not.
DomainName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9_-]{0,61}[a-z0-9])?$")]


class SpecModel(BaseModel):
    """A closed, frozen piece of a spec: unknown fields are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=False)


def is_dns_label(text: str) -> bool:
    return re.fullmatch(NAME_PATTERN, text) is not None
