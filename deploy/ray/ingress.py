"""The ingress of several groups: sends each request to the group of its model, and joins the lists of models."""

import asyncio
import re
from collections.abc import Mapping
from typing import Any

import orjson
from ray.serve.handle import DeploymentHandle

from app.edge.answering import ClientLeft
from app.edge.entry.probes import LIVE, READY
from app.edge.http.body import read_body
from app.edge.respond import ASGIApp, Message, Receive, Reply, Scope, Send, error_body, error_reply, send_reply
from app.errors import ServingError
from app.repository.missing import no_model

READY_WITHIN_S = 2.0
LISTS = frozenset({"/v1/models", "/v2/models", "/v2/models/stats", "/v2/repository/index", "/playground/models"})
"""Routes that list models; the answers of all groups are joined."""
STREAMS = re.compile(r"/generate_stream$|^/playground/live$")

_MODEL = re.compile(r"/(?:v1/models|v2/models|v2/repository/models|playground/models)/(?P<name>[^/:]+)", re.IGNORECASE)
_FORWARDED = ("type", "asgi", "http_version", "method", "scheme", "path", "raw_path", "query_string", "root_path")


class Ingress:
    """``serve.ingress`` makes it a deployment that answers HTTP. Arguments: see ``Router``."""

    def __init__(
        self, groups: Mapping[str, DeploymentHandle], owners: Mapping[str, str], body_limit_bytes: int
    ) -> None:
        self._router = Router(groups, owners, body_limit_bytes)

    async def __serve_build_asgi_app__(self) -> ASGIApp:
        """The ASGI application."""
        return self._router


class Router:
    """An ASGI application that has requests answered by groups.

    Args:
        groups: name of a group -> handle of its deployment, the first one for all paths without a model.
        owners: name of a model -> its group.
        body_limit_bytes: largest body.
    """

    def __init__(
        self, groups: Mapping[str, DeploymentHandle], owners: Mapping[str, str], body_limit_bytes: int
    ) -> None:
        self._groups, self._owners, self._body_limit_bytes = groups, owners, body_limit_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] == "lifespan":
            await _live(receive, send)
            return
        path = scope["path"]
        if path in LIVE:
            await send_reply(Reply(200, orjson.dumps({"live": True})), send)
        elif path in READY:
            await send_reply(await self._ready(scope), send)
        else:
            await self._forward(scope, receive, send)

    async def _forward(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = dict(scope["headers"])
        length = headers.get(b"content-length", b"")
        try:
            body = await read_body(
                receive,
                content_length=int(length) if length.isdigit() else None,
                limit_bytes=self._body_limit_bytes,
            )
            handle = self._group_of(scope["path"])
        except ServingError as error:
            await send_reply(error_reply(error), send)
            return
        except ClientLeft:
            return
        if scope["path"] in LISTS:
            await send_reply(await self._joined(scope, body), send)
            return
        if STREAMS.search(scope["path"]):
            async for message in handle.options(stream=True).stream.remote(_plain(scope), body):
                await send(message)
            return
        for message in await handle.answer.remote(_plain(scope), body):
            await send(message)

    def _group_of(self, path: str) -> DeploymentHandle:
        """The group of the model in a path; the first one for a path without a model.

        Raises:
            ModelNotFound: no group has the model.
        """
        found = None if path in LISTS else _MODEL.match(path)
        if found is None:
            return next(iter(self._groups.values()))
        if found["name"] not in self._owners:
            raise no_model(found["name"], sorted(self._owners))
        return self._groups[self._owners[found["name"]]]

    async def _ready(self, scope: Scope) -> Reply:
        """200 if every group answers so."""
        for name, handle in self._groups.items():
            try:
                answer = await asyncio.wait_for(handle.answer.remote(_plain(scope), b""), READY_WITHIN_S)
            except TimeoutError:
                return Reply(503, error_body(f"no replica of the group {name!r} is ready"))
            if (reply := _reply(answer)).status != 200:
                break
        return reply

    async def _joined(self, scope: Scope, body: bytes) -> Reply:
        """The lists of all groups in one; the first answer that is not 200 otherwise."""
        plain = _plain(scope)
        plain["headers"] = [field for field in plain["headers"] if field[0] != b"accept-encoding"]
        calls = [handle.answer.remote(plain, body) for handle in self._groups.values()]
        replies = [_reply(answer) for answer in await asyncio.gather(*calls)]
        for reply in replies:
            if reply.status != 200:
                return reply
        return Reply(200, orjson.dumps(joined([orjson.loads(reply.body) for reply in replies])))


def joined(documents: list[Any]) -> Any:
    """The lists of all documents, by the names of the models: the documents themselves, or the values of their keys."""
    first = documents[0]
    if isinstance(first, list):
        entries = [each for document in documents for each in document]
        return sorted(entries, key=lambda each: each.get("name", "") if isinstance(each, dict) else each)
    if isinstance(first, dict):
        return {
            key: joined([document[key] for document in documents]) if isinstance(value, list) else value
            for key, value in first.items()
        }
    return first


def _plain(scope: Scope) -> dict[str, Any]:
    """The parts of a scope that can be sent to another process."""
    found = {name: scope[name] for name in _FORWARDED if name in scope}
    found["headers"] = [(bytes(name), bytes(value)) for name, value in scope["headers"]]
    return found | {name: tuple(scope[name]) for name in ("client", "server") if scope.get(name)}


def _reply(messages: list[Message]) -> Reply:
    """A JSON answer as a whole."""
    [start, *parts] = messages
    return Reply(start["status"], b"".join(part.get("body", b"") for part in parts))


async def _live(receive: Receive, send: Send) -> None:
    """The lifespan: the ingress has nothing to start."""
    await receive()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await send({"type": "lifespan.shutdown.complete"})
