from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.errors import UserError
from orchestrator.storage.locations import Location, join_key, parse_location


@pytest.mark.parametrize(
    ("url", "expected", "shown"),
    [
        ("/data/models", Location("file", root=Path("/data/models")), "/data/models"),
        ("/data/../models/", Location("file", root=Path("/models")), "/models"),
        ("file:///data/a%20b", Location("file", root=Path("/data/a b")), "/data/a b"),
        ("file://localhost/data", Location("file", root=Path("/data")), "/data"),
        ("s3://bucket", Location("s3", bucket="bucket"), "s3://bucket"),
        ("s3://bucket/", Location("s3", bucket="bucket"), "s3://bucket"),
        ("s3://Bucket/a/b/", Location("s3", bucket="Bucket", prefix="a/b"), "s3://Bucket/a/b"),
        ("S3://bucket/a", Location("s3", bucket="bucket", prefix="a"), "s3://bucket/a"),
        ("gs://bucket/a", Location("gs", bucket="bucket", prefix="a"), "gs://bucket/a"),
        ("az://container/a", Location("az", bucket="container", prefix="a"), "az://container/a"),
        ("memory://t", Location("memory", bucket="t"), "memory://t"),
    ],
)
def test_reads_every_form(url: str, expected: Location, shown: str) -> None:
    assert parse_location(url) == expected
    assert parse_location(url).url == shown


def test_a_relative_folder_lies_in_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert parse_location("models").root == tmp_path / "models"
    assert parse_location("./s3:odd").root == tmp_path / "s3:odd"


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("", "the store's URL is empty"),
        ("s3://", "names no bucket"),
        ("s3:///prefix", "names no bucket"),
        ("s3:/bucket/prefix", "has no '//'"),
        ("s3:bucket", "write s3://"),
        ("file://data/models", "write file:///data/models"),
        ("s3://127.0.0.1:9000/bucket", "AWS_ENDPOINT_URL"),
        ("s3://bucket/a//b", "is not a name inside a store"),
        ("s3://bucket/../other", "is not a name inside a store"),
        ("https://storage.example/bucket", "set AWS_ENDPOINT_URL to this address"),
        ("gcs://bucket", "write gs://"),
        ("fiel:///data", "write file://"),
        ("ftp://host/x", "a folder, file:///folder"),
    ],
)
def test_refuses_what_is_not_a_store_and_says_what_to_write(url: str, message: str) -> None:
    with pytest.raises(UserError) as refused:
        parse_location(url)
    assert message in str(refused.value)


@pytest.mark.parametrize(
    "url",
    [
        "s3://AKIAKEY:hunter2secret@bucket/prefix",
        "s3://AKIAKEY:hunter2/secret@bucket/prefix",
        "s3://hunter2secret@bucket",
        "s3://bucket/prefix?secret_access_key=hunter2secret",
        "az://container/prefix?sig=hunter2secret",
        "gs://bucket/prefix#hunter2secret",
        "https://user:hunter2secret@host/bucket",
    ],
)
def test_refuses_credentials_without_repeating_them(url: str) -> None:
    with pytest.raises(UserError) as refused:
        parse_location(url)
    assert "hunter2" not in str(refused.value)
    assert "credentials come from the environment" in str(refused.value)


def test_keys_stay_inside_their_prefix() -> None:
    assert join_key("a", "", "b/c") == "a/b/c"
    for key in ("../b", "/b", "b/", "b//c", "b/./c"):
        with pytest.raises(UserError):
            join_key("a", key)
