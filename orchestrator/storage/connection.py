"""Builds the obstore client of a location, with endpoint and credentials from the environment.

`ObjectStore` asks it for clients: patient ones for work, hurried ones for probes.
"""

from __future__ import annotations

import configparser
import errno
import os
import stat
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import urlsplit

from obstore.store import AzureStore, GCSStore, LocalStore, MemoryStore, S3Store

from orchestrator.errors import StoreDenied
from orchestrator.storage.faults import from_errno, translate
from orchestrator.storage.locations import Location

Client: TypeAlias = AzureStore | GCSStore | LocalStore | MemoryStore | S3Store

INNER_RETRIES = 3
"""obstore's own tries per request: a blip must not cost a whole multipart upload."""

_INNER_RETRY_SECONDS = 15
_CONNECT_SECONDS = 5.0
_STALL_SECONDS = 60.0  # no byte for this long is an outage
_TRANSFER_SECONDS = 24 * 3600.0  # one request may carry a whole large object: only stalls count

_ENDPOINTS = {
    "s3": ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"),
    "gs": ("GOOGLE_BASE_URL",),
    "az": ("AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT"),
}
"""Environment variables that name an endpoint, the strongest first, as obstore reads them."""

_MEMORY: dict[str, MemoryStore] = {}  # bucket of a memory:// URL -> its store in this process


class Connection:
    """The clients of one bucket or folder, made when they are first needed."""

    def __init__(self, location: Location, env: Mapping[str, str] | None = None) -> None:
        self.location = location
        self._env = os.environ if env is None else env
        self._clients: dict[int, Client] = {}
        if location.scheme == "s3":
            _s3_credentials(location, self._env)  # absent credentials are known before any request

    @property
    def endpoint(self) -> str | None:
        """The endpoint in the environment, without credentials; None is the provider's own."""
        for name in _ENDPOINTS.get(self.location.scheme, ()):
            if self._env.get(name):
                parts = urlsplit(self._env[name])
                return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
        return None

    def client(self, *, max_retries: int = INNER_RETRIES) -> Client:
        """A client for work. Folders: ObjectNotFound as long as the folder does not exist."""
        if self.location.root is not None:
            return _folder(self.location.root)
        if max_retries not in self._clients:
            self._clients[max_retries] = self._connect(max_retries, None)
        return self._clients[max_retries]

    def hurried_client(self, timeout_seconds: float) -> Client:
        """A client whose every request ends within `timeout_seconds`, one way or the other."""
        if self.location.root is not None:
            return _folder(self.location.root)
        return self._connect(0, timeout_seconds)

    def _connect(self, max_retries: int, timeout_seconds: float | None) -> Client:
        location = self.location
        if location.scheme == "memory":
            return _MEMORY.setdefault(location.bucket, MemoryStore())
        options: dict[str, Any] = {
            "client_options": _timeouts(timeout_seconds),
            "retry_config": {
                "max_retries": max_retries,
                "retry_timeout": timedelta(seconds=_INNER_RETRY_SECONDS),
            },
        }
        try:
            if (self.endpoint or "").startswith("http://"):
                options["client_options"]["allow_http"] = True
            if location.scheme == "s3":
                options["config"] = _s3_credentials(location, self._env)
                return S3Store(location.bucket, **options)
            if location.scheme == "gs":
                return GCSStore(location.bucket, **options)
            return AzureStore(location.bucket, **options)
        except Exception as error:  # noqa: BLE001 - obstore raises several kinds for bad settings
            raise translate(error, location.url, self.endpoint) from None


def _folder(root: Path) -> LocalStore:
    try:
        is_folder = stat.S_ISDIR(root.stat().st_mode)  # asked once: another may just be making it
    except OSError as error:
        raise from_errno(error.errno or 0, str(root)) from None
    if not is_folder:
        raise from_errno(errno.ENOTDIR, str(root))
    return LocalStore(root, automatic_cleanup=True)


def _timeouts(seconds: float | None) -> dict[str, Any]:
    if seconds is not None:
        limit = timedelta(seconds=seconds)
        return {"timeout": limit, "connect_timeout": limit, "read_timeout": limit}
    return {
        "timeout": timedelta(seconds=_TRANSFER_SECONDS),
        "connect_timeout": timedelta(seconds=_CONNECT_SECONDS),
        "read_timeout": timedelta(seconds=_STALL_SECONDS),
    }


# Environment variables that tell obstore of credentials which it fetches itself.
_FETCHED = (
    "AWS_WEB_IDENTITY_TOKEN_FILE",  # a Kubernetes service account with an IAM role
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",  # ECS
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",  # EKS pod identity
    "AWS_METADATA_ENDPOINT",  # the instance's role, asked for by name: off EC2 the lookup hangs
)


def _s3_credentials(location: Location, env: Mapping[str, str]) -> dict[str, Any]:
    """What obstore cannot find by itself; StoreDenied when there is nothing to find."""
    if env.get("AWS_SKIP_SIGNATURE", "").lower() in ("1", "true"):
        return {}
    key, secret = env.get("AWS_ACCESS_KEY_ID"), env.get("AWS_SECRET_ACCESS_KEY")
    if key and secret:
        return {}
    if key or secret:
        absent = "AWS_SECRET_ACCESS_KEY" if key else "AWS_ACCESS_KEY_ID"
        raise StoreDenied(f"{location.url}: {absent} is not set", hint=f"set {absent} as well")
    if any(env.get(name) for name in _FETCHED):
        return {}
    found = _shared_file(env)
    if found is None:
        raise StoreDenied(
            f"{location.url}: no S3 credentials were found",
            hint="set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (and AWS_ENDPOINT_URL for a "
            "store of your own), or run `aws configure`; on EC2 set "
            "AWS_METADATA_ENDPOINT=http://169.254.169.254 to use the instance's role",
        )
    return found


def _shared_file(env: Mapping[str, str]) -> dict[str, Any] | None:
    """Static keys that `aws configure` wrote for the profile of AWS_PROFILE."""
    path = Path(env.get("AWS_SHARED_CREDENTIALS_FILE") or "~/.aws/credentials").expanduser()
    parser = configparser.RawConfigParser()
    try:
        parser.read(path)
    except (configparser.Error, UnicodeDecodeError, OSError):
        return None
    profile = env.get("AWS_PROFILE") or "default"
    if not parser.has_section(profile):
        return None
    section = parser[profile]
    if not section.get("aws_access_key_id") or not section.get("aws_secret_access_key"):
        return None
    return {
        "access_key_id": section["aws_access_key_id"],
        "secret_access_key": section["aws_secret_access_key"],
        **({"session_token": token} if (token := section.get("aws_session_token")) else {}),
    }
