"""Parsing of the Host header."""

import pytest

from app.control.sites import Sites, host_name
from app.errors import Forbidden


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("localhost", "localhost"),
        ("LocalHost.:80", "localhost"),
        ("localhost:", "localhost"),
        ("127.0.0.1:8000", "127.0.0.1"),
        ("[::1]", "::1"),
        ("[::1]:8000", "::1"),
        ("my_model-1.example.com:1", "my_model-1.example.com"),
    ],
)
def test_a_host_is_a_name_or_an_address_and_a_port(host, name):
    assert host_name(host) == name


@pytest.mark.parametrize(
    "host",
    [
        "",
        ":80",
        ".",
        "localhost:80@evil",
        "user@localhost",
        "localhost:80:80",
        "localhost:x",
        "localhost:-1",
        "localhost:٣",
        "localhost/",
        "localhost:80/evil",
        "localhost?x",
        "localhost#",
        "localhost\\evil",
        "localhost, evil",
        "localhost evil",
        "localhost\n",
        "[::1",
        "[localhost]",
        "[::1]evil",
        "[::1]@evil",
    ],
)
def test_any_other_text_is_not_a_host(host):
    assert host_name(host) is None
    with pytest.raises(Forbidden):
        Sites(is_local=True, allowed_hosts=["evil", "localhost"]).check_host(host.encode(), is_near=True)
