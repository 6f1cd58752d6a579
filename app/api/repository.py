"""Triton's model repository extension: index, load, unload; and Atelier's own: one model, promote, rollback."""

import json
from typing import Any

from fastapi import APIRouter, Depends, Request, Response

from app.api.admin import AdminGuard
from app.contract.files.json_text import read_json
from app.control.administration import (
    RepositoryCommands,
    check_load_parameters,
    check_unload_parameters,
    refuse_repository_name,
)
from app.control.describe import model_versions, repository_index
from app.errors import InvalidInput, TooLarge
from app.lifecycle.registry import Registry
from app.repository.serving_file import Promotion

BODY_LIMIT_BYTES = 65_536


def repository_router(
    registry: Registry, commands: RepositoryCommands, guard: AdminGuard, *, unload_timeout_s: float
) -> APIRouter:
    """Routes under /v2/repository; those that change something are for administrators."""
    router = APIRouter(prefix="/v2/repository", tags=["repository"])
    admin = [Depends(guard)]

    @router.post("/index", summary="Every version of every model with its state")
    async def index(request: Request) -> list[dict[str, str]]:
        document = await read_document(request)
        ready = document.get("ready", False)
        if not isinstance(ready, bool):
            raise InvalidInput(f"'ready' is {ready!r}; send true or false")
        return await repository_index(registry, ready=ready)

    @router.get("/models/{name}", summary="The default version and the versions of the labels")
    async def model(name: str) -> dict[str, Any]:
        return model_versions(registry, name)

    @router.post("/models/{name}/load", summary="Load what serving.json asks for", dependencies=admin)
    async def load(name: str, request: Request) -> Response:
        check_load_parameters(await _parameters(request))
        await commands.load(name)
        return Response()

    @router.post("/models/{name}/unload", summary="Stop serving a model until it is loaded again", dependencies=admin)
    async def unload(name: str, request: Request) -> Response:
        check_unload_parameters(await _parameters(request))
        await commands.unload(name, timeout_s=unload_timeout_s)
        return Response()

    @router.post("/models/{name}/promote", summary="Make a version the default version", dependencies=admin)
    async def promote(name: str, request: Request) -> Promotion:
        document = await read_document(request)
        _only(document, "version")
        version = document.get("version")
        if isinstance(version, float) and version.is_integer():
            version = int(version)  # JSON does not distinguish integers
        if not isinstance(version, int) or isinstance(version, bool):
            raise InvalidInput(f"'version' is {json.dumps(version)}; send a number, as in {{\"version\": 2}}")
        return await commands.promote(name, version)

    @router.post("/models/{name}/rollback", summary="Undo the last promotion of a version", dependencies=admin)
    async def rollback(name: str, request: Request) -> Promotion:
        _only(await read_document(request))
        return await commands.rollback(name)

    @router.post("/{repository}/index", include_in_schema=False)
    @router.post("/{repository}/models/{name}/load", include_in_schema=False)
    @router.post("/{repository}/models/{name}/unload", include_in_schema=False)
    async def named_repository(repository: str) -> None:
        refuse_repository_name(repository, place="path")

    return router


def _only(document: dict[str, Any], *keys: str) -> None:
    for key in sorted(document.keys() - set(keys)):
        raise InvalidInput(f"key {key!r} is unknown; send {' and '.join(map(repr, keys)) or 'an empty body'}")


async def _parameters(request: Request) -> dict[str, Any]:
    parameters = (await read_document(request)).get("parameters", {})
    if not isinstance(parameters, dict):
        raise InvalidInput(f"'parameters' is {parameters!r}; send an object {{key: value}}")
    return parameters


async def read_document(request: Request) -> dict[str, Any]:
    """The body with any Content-Type: clients send none, or that of a form. An empty body counts as {}."""
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > BODY_LIMIT_BYTES:
            raise TooLarge(f"body of more than {BODY_LIMIT_BYTES} bytes; this route accepts only a few settings")
    if not body:
        return {}
    document = read_json(body, strict=True)
    if not isinstance(document, dict):
        raise InvalidInput("the JSON document is not an object; send an object {key: value}")
    return document
