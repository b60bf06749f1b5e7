"""Turns what obstore and the operating system raise into the project's store errors.

obstore says most things in prose; the status, the error code and the kind of network trouble are
read from it here and nowhere else. Raw texts are not passed on: they may hold signed URLs.
"""

from __future__ import annotations

import errno
import re
from dataclasses import dataclass

from obstore.exceptions import (
    AlreadyExistsError,
    PermissionDeniedError,
    UnauthenticatedError,
)

from orchestrator.errors import (
    ObjectExists,
    ObjectNotFound,
    StoreDenied,
    StoreError,
    StoreFull,
    StoreUnavailable,
)

_STATUS = re.compile(r"status code: (\d{3})")
_CODE = re.compile(r"<Code>(\w+)</Code>|\(code: (\w+)\)")
_ERRNO = re.compile(r"\(os error (\d+)\)")
_METADATA_HOSTS = ("169.254.169.254", "169.254.170.2", "metadata.google.internal", "fd00:ec2::254")

_FULL_ERRNOS = {errno.ENOSPC, errno.EDQUOT}
_DENIED_ERRNOS = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR}
_AWAY_ERRNOS = {errno.ESTALE, errno.ETIMEDOUT, errno.EHOSTDOWN, errno.ENOTCONN, errno.EIO}

_FULL_CODES = {"XMinioStorageFull", "QuotaExceeded", "InsufficientStorage", "InsufficientCapacity"}
_NO_BUCKET_CODES = {"NoSuchBucket", "ContainerNotFound", "InvalidBucketName"}
_BUSY_CODES = {"SlowDown", "ServiceUnavailable", "InternalError", "RequestTimeout", "ServerBusy"}
_CREDENTIAL_HINTS = {
    "InvalidAccessKeyId": "the store does not know the key in AWS_ACCESS_KEY_ID",
    "SignatureDoesNotMatch": "AWS_SECRET_ACCESS_KEY does not belong to AWS_ACCESS_KEY_ID",
    "ExpiredToken": "the session token has expired: renew the credentials",
    "InvalidToken": "AWS_SESSION_TOKEN is not valid: renew the credentials, or unset it",
    "TokenRefreshRequired": "the session token has expired: renew the credentials",
    "RequestTimeTooSkewed": "this machine's clock is wrong: set it",
    "AuthorizationHeaderMalformed": "set AWS_REGION to the bucket's region",
    "AccessDenied": "the credentials may not do this here; does the bucket exist, and does the "
    "key have read and write access to it?",
}


@dataclass(frozen=True, slots=True)
class _Answer:
    """What could be read from a remote store's error."""

    status: int | None
    code: str | None
    text: str  # for matching only

    @property
    def shown(self) -> str:
        parts = [f"HTTP {self.status}" if self.status else None, self.code]
        return ", ".join(part for part in parts if part)


def translate(error: Exception, where: str, endpoint: str | None = None) -> StoreError:
    """The project's error for what an operation on the store URL `where` raised."""
    if isinstance(error, StoreError):
        return error
    text = str(error)
    if isinstance(error, AlreadyExistsError):
        return ObjectExists(f"{where} exists already")
    number = error.errno if isinstance(error, OSError) else None
    if number is None and (found := _ERRNO.search(text)) and "LocalFileSystem" in text:
        number = int(found.group(1))
    if number is not None and number != errno.ENOENT:
        return from_errno(number, where)
    status, code = _STATUS.search(text), _CODE.search(text)
    answer = _Answer(
        status=int(status.group(1)) if status else None,
        code=(code.group(1) or code.group(2)) if code else None,
        text=text,
    )
    if isinstance(error, PermissionDeniedError | UnauthenticatedError) and answer.status is None:
        return _denied(where, answer)
    if isinstance(error, FileNotFoundError) and answer.code not in _NO_BUCKET_CODES:
        return ObjectNotFound(f"{where} does not exist")
    return _from_answer(answer, where, endpoint)


def from_errno(number: int, where: str) -> StoreError:
    """The error for a system call that failed on a folder."""
    what = errno.errorcode.get(number, str(number))
    if number in _FULL_ERRNOS:
        return StoreFull(f"{where}: the disk is full ({what})", hint="free space and run again")
    if number in (errno.ENOTDIR, errno.EEXIST):
        return StoreDenied(
            f"{where}: a file is where a folder is needed",
            hint="move the file, or choose another location",
        )
    if number in _DENIED_ERRNOS:
        return StoreDenied(
            f"{where} may not be read or written ({what})",
            hint="choose a writable folder, or change its permissions",
        )
    if number in _AWAY_ERRNOS:
        return StoreUnavailable(f"{where}: the file system does not answer ({what})")
    if number == errno.ENOENT:
        return ObjectNotFound(f"{where} does not exist")
    return StoreError(f"{where}: the file system refused ({what})")


def _from_answer(answer: _Answer, where: str, endpoint: str | None) -> StoreError:
    text, status, code = answer.text, answer.status, answer.code
    if any(host in text for host in _METADATA_HOSTS) or "Account must be specified" in text:
        return StoreDenied(
            f"{where}: no usable credentials were found",
            hint=f"set {_credential_variables(where)}",
        )
    if code in _NO_BUCKET_CODES or (status == 404 and "bucket" in text.lower()):
        return StoreDenied(
            f"{where}: the bucket does not exist", hint="create it, or correct the store's URL"
        )
    if status == 507 or code in _FULL_CODES:
        return StoreFull(f"{where}: the store is full ({answer.shown})", hint="free space there")
    if status in (408, 425, 429) or (status or 0) >= 500 or code in _BUSY_CODES:
        return StoreUnavailable(f"{where}: the store is overloaded or failing ({answer.shown})")
    if status in (401, 403) or code in _CREDENTIAL_HINTS:
        return _denied(where, answer)
    if "configured region" in text:
        return StoreDenied(
            f"{where}: the bucket lies elsewhere", hint="set AWS_REGION to its region"
        )
    if status is None:
        return _network(text, where, endpoint)
    return StoreError(f"{where}: the store refused ({answer.shown})")


def _credential_variables(where: str) -> str:
    variables = {
        "gs": "GOOGLE_APPLICATION_CREDENTIALS to the file of a service account",
        "az": "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY",
    }
    s3 = "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
    return variables.get(where.partition(":")[0], s3)


def _denied(where: str, answer: _Answer) -> StoreDenied:
    hint = _CREDENTIAL_HINTS.get(answer.code or "", "check the credentials in the environment")
    shown = f" ({answer.shown})" if answer.shown else ""
    return StoreDenied(f"{where}: access was denied{shown}", hint=hint)


def _network(text: str, where: str, endpoint: str | None) -> StoreError:
    at = f" at {endpoint}" if endpoint else ""
    if re.search(r"certificate|TlsError|tls handshake", text, re.IGNORECASE):
        return StoreError(
            f"{where}: no secure connection to the store{at}",
            hint="the endpoint's certificate is not trusted here, or it speaks http, not https",
        )
    if "HTTP error" in text or "error sending request" in text or "body error" in text:
        return StoreUnavailable(
            f"{where}: the store cannot be reached{at} ({_trouble(text)})",
            hint=f"is it running, and is the endpoint right ({_endpoint_variable(where)})?",
        )
    if "list response" in text or "DeleteObjects response" in text or "from headers" in text:
        return StoreError(
            f"{where}: what answers{at} is not an object store",
            hint=f"correct the endpoint ({_endpoint_variable(where)})",
        )
    return StoreError(f"{where}: {_first_line(text)}")


def _endpoint_variable(where: str) -> str:
    """What a person sets to name another endpoint for a URL's provider."""
    variables = {"gs": "GOOGLE_BASE_URL", "az": "AZURE_STORAGE_ENDPOINT"}
    return variables.get(where.partition(":")[0], "AWS_ENDPOINT_URL")


def _trouble(text: str) -> str:
    if "ConnectionRefused" in text or "Connection refused" in text:
        return "connection refused"
    if "dns error" in text or "failed to lookup" in text:
        return "its host name does not resolve"
    if "TimedOut" in text or "kind: Timeout" in text:
        return "no answer in time"
    return "the connection broke"


def _first_line(text: str) -> str:
    """What is left to say, without the query of any URL in it."""
    line = text.strip().splitlines()[0] if text.strip() else "unknown error"
    return re.sub(r"\?\S+", "?…", line)[:300]
