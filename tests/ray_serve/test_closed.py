"""Commands of administrators are refused, and only those; needs no Ray."""

import asyncio

import orjson
import pytest

from deploy.ray.closed import Closed


async def passed_on(scope, receive, send):
    await send({"type": "http.response.start", "status": 204, "headers": []})


def answer(path):
    sent = []

    async def send(message):
        sent.append(message)

    asyncio.run(Closed(passed_on)({"type": "http", "path": path}, None, send))
    return sent


@pytest.mark.parametrize("place", ["/v2/repository/models", "/v2/repository/mine/models"])
@pytest.mark.parametrize(
    ("verb", "instead"),
    [
        ("load", "publish a version of 'a' in the models directory"),
        ("unload", "remove the versions of 'a' from the models directory"),
        ("promote", "use `python -m app promote a VERSION --models-dir DIR`"),
        ("rollback", "use `python -m app rollback a --models-dir DIR`"),
    ],
)
def test_a_command_says_why_and_what_to_do_instead(place, verb, instead):
    start, body = answer(f"{place}/a/{verb}")
    assert start["status"] == 403
    assert orjson.loads(body["body"])["error"] == (
        f"{verb} is closed on Ray, since it would change one replica of several; {instead}: every replica follows the "
        "directory"
    )


@pytest.mark.parametrize("path", ["/v2/repository/index", "/v2/repository/models/a", "/v2/models/a/infer", "/"])
def test_everything_else_reaches_the_service(path):
    assert answer(path)[0]["status"] == 204
