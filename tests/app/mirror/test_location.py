"""Which texts are URLs of models."""

import re
from pathlib import Path

import pytest

from app.mirror.location import Location


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("s3://bucket/models", "s3://bucket/models"),
        ("S3://bucket/a/b/", "s3://bucket/a/b"),
        ("gs://bucket", "gs://bucket"),
        ("hf://owner/repository@main/models", "hf://owner/repository@main/models"),
        ("https://host:8443/models/", "https://host:8443/models"),
    ],
)
def test_a_url_is_a_location(text, url):
    assert str(Location.parse(text)) == url


@pytest.mark.parametrize("path", ["models", "/srv/models", "./s3:/x", "C:models", "a:b/c"])
def test_a_path_is_not(path):
    assert Location.parse(path) is None
    assert Location.parse(str(Path(path))) is None


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("ftp://host/models", "ftp:// is not supported; a models directory is a path, or one of s3://, gs://, hf://"),
        ("s3://", "'s3://' names no place; write s3://bucket/models"),
        ("https:///models", "names no place"),
        ("s3://bucket/\n", "names no place"),
        ("https://me:secret@host/models", "a URL of models may not have a name or password"),
        ("https://host/models?token=1", "may not have a query or a fragment"),
        ("https://host/models#x", "may not have a query or a fragment"),
    ],
)
def test_a_url_that_names_no_directory_is_refused(text, reason):
    with pytest.raises(ValueError, match=re.escape(reason)) as refused:
        Location.parse(text)
    assert "secret" not in str(refused.value)


def test_each_url_has_a_copy_of_its_own():
    first, second = Location.parse("s3://bucket/a"), Location.parse("s3://bucket/b")
    assert first.key != second.key
    assert first.key == Location.parse("s3://bucket/a/").key
