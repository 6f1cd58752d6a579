"""Which heads are refused, and what takes too long; tests/e2e/test_connections.py has the same over sockets."""

import pytest

from app.edge.connection.limits import HttpLimits
from app.edge.connection.rules import LINGER_S, Phase, head_refusal, is_overdue, origin_form, overdue_reply

LIMITS = HttpLimits(
    max_connections=10,
    head_limit_bytes=1_000,
    max_headers=10,
    body_limit_bytes=1_000,
    bodies_limit_bytes=10_000,
    replies_limit_bytes=10_000,
    head_timeout_s=10,
    body_timeout_s=20,
    body_rate_bytes=100,
    send_timeout_s=30,
    keep_alive_s=5,
)
GOOD = {"method": b"POST", "version": "1.1", "hosts": 1, "length": 1_000, "codings": b""}


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({}, None),
        ({"codings": b"chunked,", "length": 0}, None),
        ({"codings": b" , Chunked ,", "length": 0}, None),
        ({"codings": b"gzip, chunked,"}, 501),
        ({"codings": b"gzip,chunked,"}, 501),
        ({"codings": b"chunked, chunked,"}, 501),
        ({"codings": b"chunked;a=b,"}, 501),
        ({"codings": b"identity,"}, 501),
        ({"codings": b","}, 501),
        ({"version": "1.0", "hosts": 0}, None),
        ({"version": "2.0"}, 505),
        ({"version": "0.9"}, 505),
        ({"hosts": 0}, 400),
        ({"hosts": 2}, 400),
        ({"version": "1.0", "hosts": 2}, 400),
        ({"version": "1.0", "codings": b"chunked,"}, 400),
        ({"method": b"CONNECT"}, 405),
        ({"length": 1_001}, 413),
    ],
)
def test_which_heads_are_refused(change, status):
    reply = head_refusal(**{**GOOD, **change}, limits=LIMITS)
    assert (reply and reply.status) == status


@pytest.mark.parametrize(
    ("phase", "allowed_s", "status"),
    [
        (Phase.NEW, 10, None),
        (Phase.HEAD, 10, 408),
        (Phase.BODY, 25, 408),
        (Phase.IDLE, 5, None),
        (Phase.LINGER, LINGER_S, None),
    ],
)
def test_which_phase_takes_too_long_and_which_clients_get_an_answer(phase, allowed_s, status):
    assert not is_overdue(phase, allowed_s, 500, LIMITS)
    assert is_overdue(phase, allowed_s + 0.1, 500, LIMITS)
    reply = overdue_reply(phase, allowed_s + 0.1, 500, LIMITS)
    assert (reply and reply.status) == status


def test_an_answer_may_take_its_time():
    assert not is_overdue(Phase.ANSWER, 1e9, 0, LIMITS)


@pytest.mark.parametrize(
    ("target", "authority", "path"),
    [
        (b"/v1/models?x=http://other/", None, b"/v1/models?x=http://other/"),
        (b"*", None, b"*"),
        (b"http://other", b"other", b"/"),
        (b"http://other?x", b"other", b"/?x"),
        (b"http://localhost:80@other:81/x", b"localhost:80@other:81", b"/x"),
        (b"HTTPS://[::1]:5/x/y?z#", b"[::1]:5", b"/x/y?z#"),
        (b"http:///x", b"", b"/x"),
    ],
)
def test_which_host_a_target_names_itself(target, authority, path):
    assert origin_form(target) == (authority, path)
