"""Checks a server's answers: figures of a server with wrong answers are dropped."""

import http.client
from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.serving.forms import HEADER_LENGTH, Form

TOLERANCE = 1e-4
"""Peers print at least seven digits; padding and batch size change the last bits of float32, about 1e-6 here."""
FIRST = 4
"""Answers that are checked while a server starts."""
PATIENCE_S = 5


def wrong_answer(
    form: Form,
    instances: Sequence[Any],
    answers: Sequence[Any],
    *,
    port: int,
    ready_path: str | None = None,
    most: int | None = None,
) -> str | None:
    """None if the answers, or the ``most`` first, are right and ``ready_path`` returns 200; otherwise the problem."""
    try:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
        try:
            if ready_path is not None:
                connection.request("GET", ready_path)
                reply = connection.getresponse()
                reply.read()
                if reply.status != 200:
                    return f"{ready_path}: {reply.status}"
            for given, expected in list(zip(instances, answers, strict=True))[:most]:
                if wrong := _one(connection, form, given, expected):
                    return wrong
        finally:
            connection.close()
    except (OSError, http.client.HTTPException) as error:
        return f"{type(error).__name__}: {error}"
    return None


def _one(connection: http.client.HTTPConnection, form: Form, given: Any, expected: Any) -> str | None:
    post = form.write(given)
    connection.request("POST", post.path, post.body, dict(post.headers))
    reply = connection.getresponse()
    body = reply.read()
    if reply.status != 200:
        return f"{reply.status}: {body[:200].decode(errors='replace')}"
    if form.read is None:
        return None
    length = reply.headers.get(HEADER_LENGTH)
    try:
        got = np.asarray(form.read(body, int(length) if length else None), float)
    except (ValueError, KeyError, TypeError, IndexError) as error:
        return f"unreadable answer, {type(error).__name__}: {error}: {body[:200]!r}"
    if got.shape != expected.shape:
        return f"answer of shape {got.shape}, expected {expected.shape}"
    difference = float(np.abs(got - expected).max())
    return None if difference <= TOLERANCE else f"an answer is {difference:.2g} off"
