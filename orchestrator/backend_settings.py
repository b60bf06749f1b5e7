"""Where jobs may run, as the operator writes it: one table of `[backends.<name>]` a place.

Read by `settings`, made into backends by `control.backends.configured`. Secrets are never settings:
a table names the environment variable that holds a cluster's token.
"""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator

NAME = r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"


class _Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class LocalSettings(_Settings):
    """This machine, on an embedded Ray of the server's own."""

    kind: Literal["local"] = "local"


class RaySettings(_Settings):
    """An existing Ray cluster, reached at the address of its dashboard."""

    kind: Literal["ray"]
    url: str = Field(
        pattern=r"^https?://", description="Of the cluster's dashboard, e.g. http://head:8265."
    )
    token_env: str | None = Field(
        default=None,
        min_length=1,
        description=(
            "Environment variable of the server that holds the cluster's token; absent: the "
            "cluster asks for none."
        ),
    )
    network_interface: str | None = Field(
        default=None,
        min_length=1,
        description="Interface that gloo and NCCL use between nodes; absent: their own choice.",
    )
    environment: dict[str, str] = Field(
        default_factory=dict,
        description="Variables of every worker there; nothing secret: Ray shows them.",
    )
    python: str = Field(
        default="python", min_length=1, description="The cluster's Python that has this package."
    )

    @field_validator("url")
    @classmethod
    def _without_credentials(cls, value: str) -> str:
        if urlsplit(value).username is not None:
            raise ValueError("it holds a user name; name a token's variable with token_env instead")
        return value.rstrip("/")


class FakeSettings(_Settings):
    """Nodes that are not there, for trying out queues and interfaces: jobs run in no time."""

    kind: Literal["fake"]
    num_nodes: int = Field(default=4, ge=1, description="Machines.")
    cpus_per_node: int = Field(default=8, ge=1, description="Cores of each.")
    gpus_per_node: int = Field(default=0, ge=0, description="GPUs of each.")
    memory_bytes_per_node: int = Field(default=64_000_000_000, ge=1, description="Memory of each.")
    accelerator: str | None = Field(default=None, description="Kind of the GPUs.")
    seconds: float = Field(default=5.0, ge=0, description="How long an attempt takes.")
    fails: dict[str, str] = Field(
        default_factory=dict,
        description="Names of jobs (with * and ?) that fail, and the reason they fail with.",
    )


BackendSettings = Annotated[LocalSettings | RaySettings | FakeSettings, Field(discriminator="kind")]


def _from_json(value: Any) -> Any:
    """In the environment the tables are one JSON object."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError as error:
        raise ValueError(f"not valid JSON: {error}") from None


BackendTables = Annotated[
    dict[Annotated[str, Field(pattern=NAME)], BackendSettings],
    Field(min_length=1),
    BeforeValidator(_from_json),
]


def this_machine() -> dict[str, BackendSettings]:
    """Where jobs run unless the operator says otherwise."""
    return {"local": LocalSettings()}
