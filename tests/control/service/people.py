"""Users of a service that comes and goes: they ask again until they are answered."""

from __future__ import annotations

import hashlib
import json
import random
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from orchestrator.control.store import Database, Tokens
from orchestrator.interfaces.api.authentication import digest_of, new_token
from orchestrator.interfaces.wire import API, FOLDER_TYPE, IDEMPOTENCY_KEY
from orchestrator.records import AccessToken, Role
from tests.interfaces.api.builders import rows_of, write_base

PATIENCE_SECONDS = 120.0
LOST = 0.15  # of the answers to submits: the client hangs up, and asks again with the same key


def token_of(database: Database, team: str, role: Role = Role.SUBMITTER, name: str = "ada") -> str:
    """The secret of a new token."""
    about = AccessToken(
        id="", name=name, team=team, role=role, created_at=time.time(), created_by="op"
    )
    token, secret = new_token(about)
    Tokens(database).create(token, digest_of(secret))
    return secret


@dataclass
class User:
    """One team's, over several servers of one database."""

    team: str
    secret: str
    urls: Sequence[str]
    chance: random.Random
    files: dict[str, str] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)  # answers that no outage explains
    waited: list[float] = field(default_factory=list)  # seconds of each answered submit

    def __post_init__(self) -> None:
        self.client = httpx.Client(
            headers={"Authorization": f"Bearer {self.secret}"}, timeout=30, trust_env=False
        )

    def ask(self, method: str, path: str, **more: Any) -> httpx.Response:
        """The first answer that is none of an outage."""
        until = time.monotonic() + PATIENCE_SECONDS
        while True:
            with suppress(httpx.TransportError):
                url = self.chance.choice(list(self.urls))
                answer = self.client.request(method, f"{url}{API}{path}", **more)
                if answer.status_code not in (502, 503):
                    return answer
            if time.monotonic() > until:
                raise TimeoutError(f"{method} {path}: nobody answers")
            time.sleep(0.1)

    def prepare(self, folder: Path) -> None:
        """Hands a base and data over."""
        base = []
        for path in sorted(write_base(folder / f"base-{self.team}").iterdir()):
            data = path.read_bytes()
            base.append(
                {"path": path.name, "size_bytes": len(data), "sha256": _sha256(data)},
            )
            self._upload(path.name, data)
        listed = json.dumps({"files": base}).encode()
        self.files["base"] = self._upload("base", listed, FOLDER_TYPE)
        for split in ("train", "test"):
            self.files[split] = self._upload(f"{split}.jsonl", rows_of(split).encode())

    def submit(self, name: str, seed: int, **sections: Any) -> str:
        """The job's id. Some answers are not waited for, and asked for again by the same key."""
        body = {"spec": self.spec(name, seed, **sections)}
        headers = {IDEMPOTENCY_KEY: f"key-{name}"}
        if self.chance.random() < LOST:
            self._hang_up(body, headers)
        begun = time.monotonic()
        answer = self.ask("POST", "/jobs", json=body, headers=headers)
        self.waited.append(time.monotonic() - begun)
        if answer.status_code not in (200, 201):
            self.refused.append(f"{name}: {answer.status_code} {answer.text}")
            return ""
        return str(answer.json()["job"]["id"])

    def all_of(self, path: str) -> list[Any]:
        """Every item of a list that comes in pages."""
        found: list[Any] = []
        cursor: str | None = None
        while True:
            query = {"limit": 500, **({"cursor": cursor} if cursor else {})}
            page = self.ask("GET", path, params=query).json()
            found += page["items"]
            if (cursor := page["next"]) is None:
                return found

    def spec(self, name: str, seed: int, **sections: Any) -> str:
        spec: dict[str, Any] = {
            "model": {"base": self.files["base"]},
            "task": {"type": "text-classification"},
            "data": {
                "domains": {
                    "camera": {split: [{"path": self.files[split]}] for split in ("train", "test")}
                }
            },
            "training": {"max_steps": 4, "global_batch_size": 4, "max_length": 8, "seed": seed},
            "resources": {"workers": 2},
        }
        for section, fields in sections.items():
            spec[section] = {**spec.get(section, {}), **fields}
        document = {
            "apiVersion": "finetune.orchestrator/v1alpha1",
            "kind": "FineTune",
            "metadata": {"name": name, "labels": {"team": self.team}},
            "spec": spec,
        }
        return json.dumps(document)

    def _hang_up(self, body: Any, headers: dict[str, str]) -> None:
        url = self.chance.choice(list(self.urls))
        patience = httpx.Timeout(5, read=self.chance.uniform(0.001, 0.2))
        with suppress(httpx.TransportError):
            self.client.post(f"{url}{API}/jobs", json=body, headers=headers, timeout=patience)

    def _upload(self, name: str, data: bytes, kind: str = "application/octet-stream") -> str:
        sha256 = _sha256(data)
        path, headers = f"/uploads/{sha256}/{name}", {"Content-Type": kind}
        answer = self.ask("PUT", path, content=data, headers=headers)
        assert answer.is_success, answer.text
        return str(answer.json()["url"])


def until(holds: Callable[[], bool], seconds: float, what: str) -> None:
    """Waits for something that other processes do."""
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            raise TimeoutError(f"not {what} within {seconds} s")
        time.sleep(0.05)


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
