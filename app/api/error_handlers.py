"""Sends errors of the FastAPI routes in the standard form of errors."""

from fastapi import FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from app.edge.answering import CLIENT_CLOSED_REQUEST
from app.edge.respond import error_body, error_reply, malformed
from app.errors import ServingError

ROUTES = "GET /docs lists all routes"


def add_error_handlers(app: FastAPI) -> None:
    """Answer all errors, our own, Starlette's routing errors and FastAPI's checks, as ``{"error": message}``."""
    app.add_exception_handler(ServingError, _serving)
    app.add_exception_handler(ClientDisconnect, _left)
    app.add_exception_handler(StarletteHTTPException, _http)
    app.add_exception_handler(RequestValidationError, _validation)
    app.add_exception_handler(Exception, _internal)


async def _serving(_request: Request, error: Exception) -> Response:
    assert isinstance(error, ServingError)
    reply = error_reply(error)
    headers = {name.decode(): value.decode() for name, value in reply.headers}
    return Response(reply.body, reply.status, headers)


async def _left(_request: Request, _error: Exception) -> Response:
    """The client left before its body was read: nobody gets this, and it is no fault of the service."""
    return Response(b"", CLIENT_CLOSED_REQUEST)


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException | StarletteHTTPException)
    headers = {**(error.headers or {}), "content-type": "application/json"}
    message = str(error.detail)
    if error.status_code == 404 and request.url.path.lower().startswith("/v1/"):
        # With TensorFlow Serving's message and code.
        both = "versions/" in request.url.path.lower() and "labels/" in request.url.path.lower()
        rule = "a version and a label cannot be supplied together" if both else ROUTES
        message = malformed(request.method, request.url.path, rule)
        return Response(error_body(message), 400, headers)
    if error.status_code == 404:
        message = f"{request.method} {request.url.path} is not a route; {ROUTES}"
    if error.status_code == 405:
        message += f"; use {headers.get('Allow', 'GET')}"
        if request.url.path.startswith("/v1/models/"):
            message += ", or POST to a path that ends in :predict, :classify, :regress or :explain"
    return Response(error_body(message), error.status_code, headers)


async def _validation(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    where = " ".join(str(part) for part in first["loc"])
    message = f"{where} is {first.get('input')!r}: {first['msg']}"
    return Response(error_body(message), 400, {"content-type": "application/json"})


async def _internal(_request: Request, _error: Exception) -> Response:
    """A bug: Starlette raises it again afterwards, so that the log contains its traceback."""
    return Response(error_body("internal error; see the service's log"), 500, {"content-type": "application/json"})
