from __future__ import annotations

import pytest

from corpgrid.blobs.cloud_url import CloudPlace, parse
from corpgrid.errors import ConfigError


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("s3://grid", CloudPlace("s3", "grid", "", {}, allow_http=False)),
        ("s3://grid/", CloudPlace("s3", "grid", "", {}, allow_http=False)),
        ("s3://grid/a/b/?region=eu-1", CloudPlace("s3", "grid", "a/b", {"region": "eu-1"}, allow_http=False)),
        (
            "s3://grid?endpoint=https://s3.example.org:9000",
            CloudPlace("s3", "grid", "", {"endpoint": "https://s3.example.org:9000"}, allow_http=False),
        ),
        (
            "s3://grid?endpoint=http://127.0.0.1:9000&allow_http=true",
            CloudPlace("s3", "grid", "", {"endpoint": "http://127.0.0.1:9000"}, allow_http=True),
        ),
        ("gs://grid.example.org/x", CloudPlace("gs", "grid.example.org", "x", {}, allow_http=False)),
        ("az://grid?account_name=corp", CloudPlace("az", "grid", "", {"account_name": "corp"}, allow_http=False)),
    ],
)
def test_a_place_is_read(url: str, place: CloudPlace) -> None:
    assert parse(url) == place


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("grid", "no scheme"),
        ("https://grid.example.org", "begins with https:"),
        ("s3://ab", "3 to 63"),
        ("s3://", "3 to 63"),
        ("s3://[grid", "no URL"),
        ("s3://grid#part", "fragment"),
        ("s3://grid/a//b", "empty step"),
        ("s3://grid?verify=false", "verify"),
        ("az://grid?region=eu-1", "region"),
        ("s3://grid?allow_http=yes", "allow_http"),
        ("s3://grid?endpoint=http://s3.example.org", "not encrypted"),
    ],
)
def test_what_is_none_is_said_to_be(url: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told) as failed:
        parse(url)
    assert failed.value.remedy


@pytest.mark.parametrize(
    "url",
    ["s3://AKIA:sesame@grid", "s3://sesame@grid/a", "s3://grid?secret_access_key=sesame", "s3://grid?token=sesame"],
)
def test_credentials_are_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(ConfigError) as failed:
        parse(url)
    assert "AWS_SECRET_ACCESS_KEY" in failed.value.remedy
    assert "sesame" not in failed.value.explain()


def test_a_place_has_a_name_for_people() -> None:
    place = parse("s3://grid/a/b?endpoint=https://s3.example.org")
    assert place.name == "s3://grid/a/b"
    assert "AWS_ACCESS_KEY_ID" in place.credentials
