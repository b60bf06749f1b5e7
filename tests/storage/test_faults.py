"""What each kind of trouble is called, and what its message tells to do."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from obstore.exceptions import GenericError

from orchestrator.errors import (
    ObjectExists,
    ObjectNotFound,
    StoreDenied,
    StoreError,
    StoreFull,
    StoreUnavailable,
    UserError,
)
from orchestrator.storage.faults import from_errno, translate
from orchestrator.storage.objectstore import open_store
from tests.seaweed import READER, S3Server
from tests.storage.scripted import OK, Answer, s3_error, scripted_server


@pytest.fixture
def credentials(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    return monkeypatch


# A real S3 server


@pytest.mark.parametrize(
    ("name", "value", "hint"),
    [
        ("AWS_SECRET_ACCESS_KEY", "hunter2", "AWS_SECRET_ACCESS_KEY does not belong to"),
        ("AWS_ACCESS_KEY_ID", "stranger", "does not know the key in AWS_ACCESS_KEY_ID"),
    ],
)
def test_wrong_credentials_are_told_at_once(
    s3_env: S3Server, monkeypatch: pytest.MonkeyPatch, name: str, value: str, hint: str
) -> None:
    monkeypatch.setenv(name, value)
    store = open_store(s3_env.url("models"))
    start = time.monotonic()
    for probe in (store.probe_readable, store.probe_writable):
        with pytest.raises(StoreDenied) as denied:
            probe()
        assert hint in str(denied.value)
        assert s3_env.url("models") in str(denied.value)
        assert "hunter2" not in str(denied.value)
    with pytest.raises(StoreDenied):
        store.put_bytes("a", b"1")
    assert time.monotonic() - start < 5
    assert denied.value.exit_code == 2


def test_a_missing_bucket_is_told_at_once(s3_env: S3Server) -> None:
    store = open_store("s3://no-such-bucket/models")
    start = time.monotonic()
    with pytest.raises(StoreDenied) as denied:
        store.probe_readable()
    assert "the bucket does not exist" in str(denied.value)
    with pytest.raises(StoreDenied) as denied:
        store.probe_writable()
    assert "does the bucket exist" in str(denied.value)
    with pytest.raises(StoreDenied):
        store.get_bytes("a")
    assert time.monotonic() - start < 5


def test_a_reader_may_read_but_not_write(s3_env: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    open_store(s3_env.url("shared")).put_bytes("a", b"1")
    for name, value in s3_env.environment(READER).items():
        monkeypatch.setenv(name, value)
    store = open_store(s3_env.url("shared"))
    store.probe_readable()
    assert store.get_bytes("a") == b"1"
    with pytest.raises(StoreDenied) as denied:
        store.probe_writable()
    assert "read and write access" in str(denied.value)
    with pytest.raises(StoreDenied):
        store.delete("a")


# Endpoints that are not there, or are something else


def test_a_refused_connection_is_told_within_the_time_asked_for(
    credentials: pytest.MonkeyPatch,
) -> None:
    credentials.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    store = open_store("s3://bucket/models")
    start = time.monotonic()
    with pytest.raises(StoreUnavailable) as away:
        store.probe_writable(timeout_seconds=2)
    assert time.monotonic() - start < 3
    assert "s3://bucket/models" in str(away.value)
    assert "http://127.0.0.1:1 (connection refused)" in str(away.value)
    assert "AWS_ENDPOINT_URL" in str(away.value)


@pytest.mark.parametrize("probe", ["probe_readable", "probe_writable"])
def test_an_endpoint_that_never_answers_is_told_within_the_time_asked_for(
    credentials: pytest.MonkeyPatch, probe: str
) -> None:
    with scripted_server(Answer(hang=True)) as server:
        credentials.setenv("AWS_ENDPOINT_URL", server.endpoint)
        store = open_store("s3://bucket/models")
        start = time.monotonic()
        with pytest.raises(StoreUnavailable) as away:
            getattr(store, probe)(timeout_seconds=1.0)
    assert time.monotonic() - start < 2.5
    assert "no answer in time" in str(away.value)


def test_ctrl_c_is_heard_while_the_store_does_not_answer(credentials: pytest.MonkeyPatch) -> None:
    with scripted_server(Answer(hang=True)) as server:
        credentials.setenv("AWS_ENDPOINT_URL", server.endpoint)
        store = open_store("s3://bucket/models", retry_seconds=0)
        start = time.monotonic()
        threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
        with pytest.raises(KeyboardInterrupt):
            store.get_bytes("a")
        assert time.monotonic() - start < 5


@pytest.mark.parametrize(
    ("answer", "kind", "message"),
    [
        (s3_error(507, "XMinioStorageFull"), StoreFull, "the store is full"),
        (s3_error(403, "QuotaExceeded"), StoreFull, "the store is full"),
        (s3_error(503, "SlowDown"), StoreUnavailable, "HTTP 503, SlowDown"),
        (s3_error(500, "InternalError"), StoreUnavailable, "overloaded or failing"),
        (s3_error(429, "TooMany"), StoreUnavailable, "overloaded or failing"),
        (s3_error(400, "ExpiredToken"), StoreDenied, "renew the credentials"),
        (s3_error(403, "RequestTimeTooSkewed"), StoreDenied, "clock is wrong"),
        (s3_error(404, "NoSuchBucket"), StoreDenied, "create it, or correct the store's URL"),
        (s3_error(301, "PermanentRedirect"), StoreDenied, "set AWS_REGION"),
        (s3_error(400, "InvalidArgument"), StoreError, "HTTP 400, InvalidArgument"),
        (Answer(401), StoreDenied, "HTTP 401"),
        (Answer(200, "hello"), StoreError, "is not an object store"),
        (Answer(drop=True), StoreUnavailable, "cannot be reached"),
        (Answer(200, "<x", torn=True), StoreUnavailable, "cannot be reached"),
    ],
)
def test_answers_of_a_store_in_trouble(
    credentials: pytest.MonkeyPatch, answer: Answer, kind: type[StoreError], message: str
) -> None:
    with scripted_server(answer) as server:
        credentials.setenv("AWS_ENDPOINT_URL", server.endpoint)
        store = open_store("s3://bucket/models", retry_seconds=0)
        with pytest.raises(StoreError) as trouble:
            store.probe_readable(timeout_seconds=0.2)
    assert type(trouble.value) is kind
    assert message in str(trouble.value)
    assert "told in prose" not in str(trouble.value)


def test_a_broken_download_is_tried_again(credentials: pytest.MonkeyPatch, tmp_path: Path) -> None:
    whole = Answer(200, "weights", headers=OK.headers)
    torn = Answer(200, "wei", headers={**OK.headers, "ETag": '"0"'}, torn=True)
    with scripted_server(torn, s3_error(503, "SlowDown"), whole) as server:
        credentials.setenv("AWS_ENDPOINT_URL", server.endpoint)
        open_store("s3://bucket/models").get_file("a", tmp_path / "a")
    assert (tmp_path / "a").read_text() == "weights"


def test_a_create_whose_answer_was_lost_is_recognised_as_ours(
    credentials: pytest.MonkeyPatch,
) -> None:
    conflict = s3_error(412, "PreconditionFailed")
    stored = Answer(200, "mine", headers=OK.headers)
    with scripted_server(Answer(drop=True), conflict, stored) as server:
        credentials.setenv("AWS_ENDPOINT_URL", server.endpoint)
        open_store("s3://bucket").put_bytes("claim", b"mine", create_only=True)
    assert [method for method, _, _ in server.seen] == ["PUT", "PUT", "GET"]


def test_a_create_whose_answer_was_lost_to_another_writer_is_refused(
    credentials: pytest.MonkeyPatch,
) -> None:
    conflict = s3_error(412, "PreconditionFailed")
    stored = Answer(200, "theirs", headers=OK.headers)
    with scripted_server(Answer(drop=True), conflict, stored) as server:
        credentials.setenv("AWS_ENDPOINT_URL", server.endpoint)
        with pytest.raises(ObjectExists):
            open_store("s3://bucket").put_bytes("claim", b"mine", create_only=True)


# Folders


def test_a_file_where_the_folder_should_be(tmp_path: Path) -> None:
    (tmp_path / "models").write_text("a file")
    for folder in (tmp_path / "models", tmp_path / "models/below"):
        store = open_store(str(folder))
        with pytest.raises(StoreDenied) as denied:
            store.probe_writable()
        assert f"{folder}: a file is where a folder is needed" in str(denied.value)
    with pytest.raises(StoreDenied):
        open_store(str(tmp_path / "models")).probe_readable()


def test_a_place_where_no_folder_can_be_made() -> None:
    """obstore itself would try for ever."""
    for folder in ("/proc/models", "/proc"):
        with pytest.raises(StoreDenied) as denied:
            open_store(folder).probe_writable()
        assert "may not be read or written" in str(denied.value)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("mounting needs root; the error's mapping is tested below in any case")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_is_named_and_nothing_half_written_is_left(
    small_disk: Path, tmp_path: Path
) -> None:
    store = open_store(str(small_disk / "store"))
    store.put_bytes("kept", b"1")
    large = tmp_path / "large"
    large.write_bytes(bytes(9 * 1024 * 1024))
    with pytest.raises(StoreFull) as full:
        store.put_file("a/large", large)
    assert str(small_disk / "store/a/large") in str(full.value)
    with pytest.raises(StoreFull):
        store.put_bytes("b", bytes(2 * 1024 * 1024))
    assert [info.key for info in store.list()] == ["kept"]
    assert [path for path in small_disk.rglob("*") if path.is_file()] == [small_disk / "store/kept"]


def test_a_full_disk_on_this_side_is_named_too(small_disk: Path, tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "store"))
    store.put_bytes("large", bytes(9 * 1024 * 1024))
    with pytest.raises(StoreFull) as full:
        store.get_file("large", small_disk / "copy")
    assert str(small_disk / "copy") in str(full.value)
    assert list(small_disk.iterdir()) == []


def test_a_read_only_file_system_is_named(small_disk: Path) -> None:
    store = open_store(str(small_disk))
    store.put_bytes("kept", b"1")
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(StoreDenied) as denied:
        store.probe_writable()
    assert "choose a writable folder" in str(denied.value)
    for change in (lambda: store.put_bytes("kept", b"2"), lambda: store.delete("kept")):
        with pytest.raises(StoreDenied):
            change()
    assert store.get_bytes("kept") == b"1"


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.ENOSPC, StoreFull),
        (errno.EDQUOT, StoreFull),
        (errno.EROFS, StoreDenied),
        (errno.EACCES, StoreDenied),
        (errno.EPERM, StoreDenied),
        (errno.ENOTDIR, StoreDenied),
        (errno.ESTALE, StoreUnavailable),
        (errno.ENOENT, ObjectNotFound),
        (errno.ENAMETOOLONG, StoreError),
    ],
)
def test_system_errors(number: int, kind: type[StoreError]) -> None:
    assert type(from_errno(number, "/data/models")) is kind
    assert "/data/models" in str(from_errno(number, "/data/models"))
    prose = GenericError(f"Generic LocalFileSystem error: no luck (os error {number})")
    if number != errno.ENOENT:
        assert type(translate(prose, "/data/models")) is kind


# Credentials and other providers


def test_absent_credentials_are_told_before_any_request(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "absent"))
    with pytest.raises(StoreDenied) as denied:
        open_store("s3://bucket/models")
    assert "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY" in str(denied.value)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    with pytest.raises(StoreDenied) as denied:
        open_store("s3://bucket/models")
    assert "AWS_SECRET_ACCESS_KEY is not set" in str(denied.value)


def test_the_keys_of_aws_configure_are_used(
    s3_env: S3Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    key, secret = s3_env.environment()["AWS_ACCESS_KEY_ID"], "user-secret"
    file = tmp_path / "credentials"
    file.write_text(
        f"[default]\n[work]\naws_access_key_id = {key}\naws_secret_access_key = {secret}\n"
    )
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
    with pytest.raises(StoreDenied):
        open_store(s3_env.url("models"))
    monkeypatch.setenv("AWS_PROFILE", "work")
    open_store(s3_env.url("models")).probe_writable()


def test_an_azure_account_must_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AZURE_STORAGE_ACCOUNT_NAME", raising=False)
    with pytest.raises(StoreDenied) as denied:
        open_store("az://container/models").probe_readable(timeout_seconds=1)
    assert "set AZURE_STORAGE_ACCOUNT_NAME" in str(denied.value)
    assert issubclass(StoreDenied, UserError)


@pytest.mark.parametrize(
    ("url", "environment", "path"),
    [
        (
            "gs://bucket/models",
            {"GOOGLE_BASE_URL": "ENDPOINT", "GOOGLE_SKIP_SIGNATURE": "true"},
            "/bucket?",
        ),
        (
            "az://container/models",
            {
                "AZURE_STORAGE_ACCOUNT_NAME": "account",
                "AZURE_STORAGE_ENDPOINT": "ENDPOINT",
                "AZURE_SKIP_SIGNATURE": "true",
            },
            "/container?",
        ),
    ],
)
def test_other_providers_are_reached_through_their_environment(
    monkeypatch: pytest.MonkeyPatch, url: str, environment: dict[str, str], path: str
) -> None:
    with scripted_server(s3_error(403, "AccessDenied")) as server:
        for name, value in environment.items():
            monkeypatch.setenv(name, value.replace("ENDPOINT", server.endpoint))
        with pytest.raises(StoreDenied) as denied:
            open_store(url).probe_readable(timeout_seconds=2)
    assert url in str(denied.value)
    assert path in server.seen[0][1]
    with pytest.raises(StoreUnavailable) as away:  # the server is gone now
        open_store(url).probe_readable(timeout_seconds=1)
    endpoint_variable = next(name for name, value in environment.items() if value == "ENDPOINT")
    assert endpoint_variable in str(away.value)


def test_unknown_trouble_keeps_its_first_line_but_no_signature() -> None:
    error = GenericError("odd thing at https://a.example/b?sig=hunter2&x=1 happened\nDebug: y")
    shown = str(translate(error, "az://container"))
    assert "odd thing" in shown
    assert "hunter2" not in shown
    assert "Debug" not in shown
