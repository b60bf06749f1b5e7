"""Identifiers: lower-case ULIDs, and the names Ray and Kubernetes see."""

from __future__ import annotations

import re

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford base 32, as in the ULID specification
_JOB = re.compile(rf"^job-[{_ALPHABET}]{{26}}$")


def ulid(time_seconds: float, randomness: bytes) -> str:
    """A ULID in lower case: 48 bits of milliseconds, then 80 bits of `randomness` (10 bytes)."""
    assert len(randomness) == 10, "a ULID carries 80 random bits"
    number = (int(time_seconds * 1000) & (2**48 - 1)) << 80 | int.from_bytes(randomness)
    return "".join(_ALPHABET[(number >> shift) & 31] for shift in range(125, -1, -5))


def job_id(time_seconds: float, randomness: bytes) -> str:
    return f"job-{ulid(time_seconds, randomness)}"


def is_job_id(text: str) -> bool:
    return _JOB.fullmatch(text) is not None


def submission_id(job: str, attempt: int) -> str:
    """Ray's submission id and KubeRay's RayJob name: at most 47 characters."""
    name = f"{job}-a{attempt}"
    assert len(name) <= 47, name
    return name
