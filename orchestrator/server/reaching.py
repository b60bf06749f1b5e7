"""Where workers reach this server to report, as far as no setting says so. Used by `service`.

An address that is bound need not be one that a cluster's nodes can use: all of them, or loopback.
"""

from __future__ import annotations

import ipaddress
import logging
import socket
from collections.abc import Callable
from urllib.parse import urlsplit, urlunsplit

from orchestrator.backend_settings import RaySettings
from orchestrator.settings import Settings

logger = logging.getLogger(__name__)

LOOPBACK = "127.0.0.1"


def own_address(host: str) -> str:
    """This machine's address on the way to a host; nothing is sent. Raises OSError."""
    family, kind, protocol, _, address = socket.getaddrinfo(host, 9, type=socket.SOCK_DGRAM)[0]
    with socket.socket(family, kind, protocol) as probe:
        probe.connect(address)
        return str(probe.getsockname()[0])


def report_base(settings: Settings, bound: str, route: Callable[[str], str] = own_address) -> str:
    """The URL that workers are given, without a path.

    Args:
        settings: The operator's.
        bound: URL of the address the API is bound to.
        route: As `own_address`.
    """
    if settings.api_url is not None:
        return settings.api_url.rstrip("/")
    tables = {n: t for n, t in settings.backends.items() if isinstance(t, RaySettings)}
    elsewhere = {n: host for n, t in tables.items() if not _is_loopback(host := _host(t.url))}
    host = _host(bound)
    if _is_loopback(host) and elsewhere:
        logger.warning(
            "api_host is %s: workers of %s cannot report, be asked to save or be seen to hang; "
            "bind an address they reach, or set api_url",
            host,
            ", ".join(elsewhere),
        )
    if not _is_every_address(host):
        return bound
    address = LOOPBACK
    for name, cluster in elsewhere.items():
        try:
            address = route(cluster)
            break
        except OSError as error:
            logger.warning("no way to the cluster %s (%s): set api_url", name, error)
    return _with_host(bound, address)


def _host(url: str) -> str:
    return urlsplit(url).hostname or ""


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _is_every_address(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return False


def _with_host(url: str, host: str) -> str:
    parts = urlsplit(url)
    shown = f"[{host}]" if ":" in host else host
    return urlunsplit(parts._replace(netloc=f"{shown}:{parts.port}"))
