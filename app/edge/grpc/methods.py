"""Shared by the methods of all gRPC services: request ids, errors as status codes, and access to admin calls."""

import logging
from collections.abc import Awaitable, Callable
from functools import wraps
from typing import NoReturn, TypeVar

from grpc.aio import ServicerContext

from app.control.administration import AdminCall, AdminRule
from app.edge.entry.door import Door
from app.edge.entry.request_ids import HEADER
from app.edge.grpc.calls import Refusal
from app.edge.grpc.metadata import Metadata, client_of, is_near
from app.edge.respond import is_fault, status_of
from app.errors import ServingError

log = logging.getLogger("atelier.grpc")

REQUEST_ID = HEADER.decode()

Servicer = TypeVar("Servicer", bound="Methods")
Request = TypeVar("Request")
Response = TypeVar("Response")
Method = Callable[[Servicer, Request, ServicerContext], Awaitable[Response]]


def answers_errors(method: Method[Servicer, Request, Response]) -> Method[Servicer, Request, Response]:
    """Send a method's errors as status codes; unexpected ones as INTERNAL, with the traceback only in the log."""

    @wraps(method)
    async def answer(servicer: Servicer, request: Request, context: ServicerContext) -> Response:
        request_id = servicer.begin(context)
        try:
            return await method(servicer, request, context)
        except ServingError as error:
            code, details = Refusal.of(error)
            if is_fault(error):
                log.error("%s failed with %s: %s", method.__name__, code.name, error.message, extra=_fields(request_id))
            else:
                log.debug(
                    "%s refused with %s: %s", method.__name__, code.name, error.message, extra=_fields(request_id)
                )
        except Exception:
            log.exception("%s failed", method.__name__, extra=_fields(request_id))
            code, details = Refusal.of(None)
        await context.abort(code, details)
        raise AssertionError("abort raises, always")

    return answer


class Methods:
    """The methods of a service.

    Args:
        admin: which callers may load and unload.
        door: creates request ids, and has the access log.
    """

    def __init__(self, *, admin: AdminRule, door: Door) -> None:
        self._admin = admin
        self._door = door

    def begin(self, context: ServicerContext) -> str:
        """Create the id of a call and send it to the client; each call starts with this."""
        request_id = self._door.ids.name(Metadata(context).raw(REQUEST_ID)).decode()
        context.set_trailing_metadata(((REQUEST_ID, request_id),))
        return request_id

    async def refuse_unread(self, error: ServingError, context: ServicerContext) -> NoReturn:
        """End a call whose request is not parsed; its model is not known."""
        request_id = self.begin(context)
        log.debug("%s", error.message, extra=_fields(request_id))
        access_log = self._door.access_log
        if access_log is not None and access_log.takes(code := status_of(error)):
            access_log.write(request_id=request_id, client=client_of(context), protocol="grpc", code=code)
        await context.abort(*Refusal.of(error))
        raise AssertionError("abort raises, always")

    def check_admin(self, call: str, context: ServicerContext) -> None:
        """Check that a call comes from an administrator. Raises as ``AdminRule.check`` does."""
        metadata = Metadata(context)
        self._admin.check(
            AdminCall(
                name=call,
                credentials=metadata.credentials,
                is_near=is_near(context),
                is_at_listener=False,
                fields=metadata.fields,
            )
        )


def _fields(request_id: str) -> dict[str, object]:
    return {"fields": {"request_id": request_id}}
