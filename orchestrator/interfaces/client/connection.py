"""Requests to the server: with the token, tried again where that is safe, errors as exceptions."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar
from urllib.parse import urlsplit

import httpx
from pydantic import BaseModel, TypeAdapter

from orchestrator import __version__
from orchestrator.errors import (
    BackendUnavailable,
    DatabaseUnavailable,
    ServerUnavailable,
    StoreUnavailable,
)
from orchestrator.interfaces.client.faults import error_of
from orchestrator.interfaces.client.login import Login
from orchestrator.interfaces.wire import API

T = TypeVar("T")
Content = Callable[[], Any]
"""Gives the bytes of a body, anew for each try."""

UNAVAILABLE = (ServerUnavailable, DatabaseUnavailable, StoreUnavailable, BackendUnavailable)
"""What may be over in a moment."""

RETRY_DELAYS_SECONDS = (0.3, 1.0, 3.0)
CONNECT_SECONDS = 5.0
STREAM_SILENCE_SECONDS = 60.0  # the server says something every 15 s


class Connection:
    """One server, as one user."""

    def __init__(
        self,
        login: Login,
        *,
        timeout_seconds: float = 120.0,
        transport: httpx.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """
        Args:
            login: The server and the token.
            timeout_seconds: For an answer: a plan reads the data.
            transport: In place of the network.
            sleep: Between tries.
        """
        headers = {"User-Agent": f"orchestrator/{__version__}"}
        if login.token is not None:
            headers["Authorization"] = f"Bearer {login.token}"
        self.url = login.url
        self.sleep = sleep
        self._client = httpx.Client(
            base_url=login.url,
            headers=headers,
            timeout=httpx.Timeout(timeout_seconds, connect=CONNECT_SECONDS),
            transport=transport,
            trust_env=urlsplit(login.url).hostname not in ("127.0.0.1", "localhost", "::1"),
        )

    def close(self) -> None:
        self._client.close()

    def get(self, path: str, kind: type[T], **query: Any) -> T:
        """The answer as `kind`; absent values of the query are left out."""
        return self._parsed(self.send("GET", path, query=query), kind)

    def post(
        self,
        path: str,
        kind: type[T],
        body: BaseModel | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        retry: bool = True,
    ) -> T:
        """As `get`; with `retry` what is asked for may be asked twice."""
        answer = self.send("POST", path, body=body, headers=headers, retry=retry)
        return self._parsed(answer, kind)

    def put(self, path: str, kind: type[T], body: BaseModel) -> T:
        return self._parsed(self.send("PUT", path, body=body), kind)

    def delete(self, path: str, kind: type[T]) -> T:
        return self._parsed(self.send("DELETE", path), kind)

    def send(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, Any] | None = None,
        body: BaseModel | Content | None = None,
        headers: Mapping[str, str] | None = None,
        retry: bool = True,
    ) -> httpx.Response:
        """A successful response, read; raises the error that another one tells."""
        given = dict(headers or {})
        if isinstance(body, BaseModel):
            given["Content-Type"] = "application/json"

        def attempt() -> httpx.Response:
            with self._reached():
                answer = self._client.request(
                    method,
                    f"{API}{path}",
                    params=_query(query or {}),
                    content=_content(body),
                    headers=given,
                )
            if not answer.is_success:
                raise error_of(answer, self.url)
            return answer

        return self._patiently(attempt) if retry else attempt()

    @contextmanager
    def stream(
        self, path: str, headers: Mapping[str, str], query: Mapping[str, Any]
    ) -> Iterator[httpx.Response]:
        """A response whose body is read as it comes; raises as `send` does."""
        timeout = httpx.Timeout(STREAM_SILENCE_SECONDS, connect=CONNECT_SECONDS)
        with (
            self._reached(),
            self._client.stream(
                "GET", f"{API}{path}", headers=dict(headers), params=_query(query), timeout=timeout
            ) as answer,
        ):
            if not answer.is_success:
                answer.read()
                raise error_of(answer, self.url)
            yield answer

    def _patiently(self, attempt: Callable[[], httpx.Response]) -> httpx.Response:
        for delay in RETRY_DELAYS_SECONDS:
            try:
                return attempt()
            except UNAVAILABLE:
                self.sleep(delay)
        return attempt()

    @contextmanager
    def _reached(self) -> Iterator[None]:
        try:
            yield
        except httpx.HTTPError as error:
            reason = str(error) or type(error).__name__
            raise ServerUnavailable(
                f"{self.url} cannot be reached: {reason}",
                hint="is `orchestrator serve` up? `orchestrator login --url URL` names another",
            ) from None
        except httpx.InvalidURL as error:
            raise ServerUnavailable(f"{self.url} is no address: {error}") from None

    def _parsed(self, answer: httpx.Response, kind: type[T]) -> T:
        try:
            return TypeAdapter(kind).validate_json(answer.content)
        except ValueError:
            raise ServerUnavailable(
                f"{self.url} answered with something else than our server does",
                hint="check the address: orchestrator login --url URL",
            ) from None


def _content(body: BaseModel | Content | None) -> Any:
    if isinstance(body, BaseModel):
        return body.model_dump_json()
    return body() if body is not None else None


def _query(values: Mapping[str, Any]) -> httpx.QueryParams:
    """Lists are repeated, booleans are JSON's."""
    found: list[tuple[str, str | int | float | bool | None]] = []
    for name, value in values.items():
        for item in value if isinstance(value, list | tuple) else (value,):
            if item is not None:
                text = str(item).lower() if isinstance(item, bool) else str(item)
                found.append((name, text))
    return httpx.QueryParams(found)
