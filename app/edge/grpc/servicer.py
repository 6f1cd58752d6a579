"""The methods of GRPCInferenceService: each asks the same code as its REST route does."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from functools import wraps
from typing import Any, NoReturn, TypeVar
from urllib.parse import unquote

from google.protobuf.json_format import ParseDict
from grpc import StatusCode
from grpc.aio import ServicerContext

from app.batching.work import RequestOptions, Timings
from app.control import describe
from app.control.administration import (
    AdminCall,
    AdminRule,
    RepositoryCommands,
    check_load_parameters,
    check_unload_parameters,
    is_loopback,
    refuse_repository_name,
)
from app.control.api_keys import ApiKeys
from app.control.model_config import model_config
from app.edge.codec.decoding import Decoding
from app.edge.entry.door import Door
from app.edge.entry.request_ids import HEADER
from app.edge.grpc import inference_pb2 as pb
from app.edge.grpc.inference_pb2_grpc import GRPCInferenceServiceServicer
from app.edge.grpc.messages import Inference, is_small, parse_infer, plain_parameters, print_infer
from app.edge.grpc.status import code_of, details_of
from app.edge.http.dispatch import CLIENT_CLOSED_REQUEST
from app.edge.observer import RequestObserver
from app.edge.respond import is_fault, status_of
from app.edge.rest.oip_inputs import read_options
from app.errors import InvalidInput, NotFound, ServingError, Unavailable
from app.lifecycle.registry import Registry
from app.loaded import LoadedModel
from app.repository.scan import version_number
from app.rollout.canary import Rollout
from app.serving.predictor import predict
from app.types import Clock

log = logging.getLogger("atelier.grpc")

PROTOCOL = "grpc:infer"
REQUEST_ID = HEADER.decode()
PLACE_OF_KEY = "the metadata authorization"

Servicer = TypeVar("Servicer", bound="InferenceServicer")
Request = TypeVar("Request")
Response = TypeVar("Response")
Message = TypeVar("Message")
Method = Callable[[Servicer, Request, ServicerContext], Awaitable[Response]]


def answers_errors(method: Method[Servicer, Request, Response]) -> Method[Servicer, Request, Response]:
    """A method whose errors go out as status codes; one that is not ours as INTERNAL, its traceback to the log only."""

    @wraps(method)
    async def answer(servicer: Servicer, request: Request, context: ServicerContext) -> Response:
        request_id = servicer.begin(context)
        try:
            return await method(servicer, request, context)
        except ServingError as error:
            code, details = code_of(error), details_of(error)
            if is_fault(error):
                log.error("%s failed with %s: %s", method.__name__, code.name, error.message, extra=_fields(request_id))
            else:
                log.debug(
                    "%s refused with %s: %s", method.__name__, code.name, error.message, extra=_fields(request_id)
                )
        except Exception:
            log.exception("%s failed", method.__name__, extra=_fields(request_id))
            code, details = StatusCode.INTERNAL, "internal error; see the service's log"
        await context.abort(code, details)
        raise AssertionError("abort raises, always")

    return answer


class InferenceServicer(GRPCInferenceServiceServicer):
    """Answers gRPC calls.

    Args:
        registry: finds the model version.
        commands: loads and unloads.
        statistics: gives the counts of the versions.
        decoding: from messages to tensors.
        observer: is told of every inference.
        admin: who may load and unload.
        keys: who may ask for inference; None: everybody.
        door: names requests, and has the access log.
        unload_timeout_s: requests of a model that is unloaded may take that long to finish.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        *,
        registry: Registry,
        commands: RepositoryCommands,
        statistics: describe.TotalStatistics,
        decoding: Decoding,
        observer: RequestObserver,
        admin: AdminRule,
        keys: ApiKeys | None,
        door: Door,
        unload_timeout_s: float,
        clock: Clock,
    ) -> None:
        self._registry = registry
        self._commands = commands
        self._statistics = statistics
        self._decoding = decoding
        self._observer = observer
        self._admin = admin
        self._keys = keys
        self._door = door
        self._unload_timeout_s = unload_timeout_s
        self._clock = clock

    def begin(self, context: ServicerContext) -> str:
        """Name a call, and tell its client the name; any call begins with this."""
        given = dict(context.invocation_metadata() or ()).get(REQUEST_ID)
        request_id = self._door.ids.name(None if given is None else _raw(given)).decode()
        context.set_trailing_metadata(((REQUEST_ID, request_id),))
        return request_id

    async def refuse_unreadable(self, path: str, context: ServicerContext) -> NoReturn:
        """End a call whose request is no message; which model it is for is not known."""
        request_id = self.begin(context)
        error = InvalidInput(f"the request of {path} is not a message of that method: its bytes cannot be read")
        log.debug("%s", error.message, extra=_fields(request_id))
        access_log = self._door.access_log
        if access_log is not None and access_log.takes(code := status_of(error)):
            access_log.write(request_id=request_id, client=unquote(context.peer()), protocol="grpc", code=code)
        await context.abort(code_of(error), details_of(error))
        raise AssertionError("abort raises, always")

    @answers_errors
    async def ServerLive(self, request: pb.ServerLiveRequest, context: ServicerContext) -> pb.ServerLiveResponse:
        """The process answers."""
        return pb.ServerLiveResponse(live=True)

    @answers_errors
    async def ServerReady(self, request: pb.ServerReadyRequest, context: ServicerContext) -> pb.ServerReadyResponse:
        """A model serves and the process is not stopping."""
        return pb.ServerReadyResponse(ready=self._registry.not_ready_reason is None)

    @answers_errors
    async def ModelReady(self, request: pb.ModelReadyRequest, context: ServicerContext) -> pb.ModelReadyResponse:
        """A version serves; one that does not exist is not ready, as in Triton, and no error."""
        try:
            self._registry.ready(request.name, _version(request.version))
        except (NotFound, Unavailable):
            return pb.ModelReadyResponse(ready=False)
        return pb.ModelReadyResponse(ready=True)

    @answers_errors
    async def ServerMetadata(
        self, request: pb.ServerMetadataRequest, context: ServicerContext
    ) -> pb.ServerMetadataResponse:
        """Name, version and extensions of the service."""
        return _filled(pb.ServerMetadataResponse(), describe.server_metadata())

    @answers_errors
    async def ModelMetadata(
        self, request: pb.ModelMetadataRequest, context: ServicerContext
    ) -> pb.ModelMetadataResponse:
        """Inputs and outputs."""
        metadata = describe.model_metadata(self._registry, request.name, _version(request.version))
        return _filled(pb.ModelMetadataResponse(), metadata)

    @answers_errors
    async def ModelConfig(self, request: pb.ModelConfigRequest, context: ServicerContext) -> pb.ModelConfigResponse:
        """Signature and batching. The latency curve has no place in the message: REST tells it."""
        config = model_config(self._registry.get(request.name, _version(request.version)))
        del config["latency_curve"]
        return _filled(pb.ModelConfigResponse(), {"config": config})

    @answers_errors
    async def ModelStatistics(
        self, request: pb.ModelStatisticsRequest, context: ServicerContext
    ) -> pb.ModelStatisticsResponse:
        """What every version has done since it was loaded first."""
        entries = describe.model_statistics(
            self._registry, await self._statistics(), request.name or None, _version(request.version)
        )
        return _filled(pb.ModelStatisticsResponse(), {"model_stats": entries})

    @answers_errors
    async def RepositoryIndex(
        self, request: pb.RepositoryIndexRequest, context: ServicerContext
    ) -> pb.RepositoryIndexResponse:
        """Every version of every model with its state."""
        _check_repository(request.repository_name)
        entries = await describe.repository_index(self._registry, ready=request.ready)
        return _filled(pb.RepositoryIndexResponse(), {"models": entries})

    @answers_errors
    async def RepositoryModelLoad(
        self, request: pb.RepositoryModelLoadRequest, context: ServicerContext
    ) -> pb.RepositoryModelLoadResponse:
        """Load what serving.json asks for."""
        self._check_admin("RepositoryModelLoad", context)
        _check_repository(request.repository_name)
        check_load_parameters(plain_parameters(request.parameters))
        await self._commands.load(request.model_name)
        return pb.RepositoryModelLoadResponse()

    @answers_errors
    async def RepositoryModelUnload(
        self, request: pb.RepositoryModelUnloadRequest, context: ServicerContext
    ) -> pb.RepositoryModelUnloadResponse:
        """Stop serving a model until it is loaded again."""
        self._check_admin("RepositoryModelUnload", context)
        _check_repository(request.repository_name)
        check_unload_parameters(plain_parameters(request.parameters))
        await self._commands.unload(request.model_name, timeout_s=self._unload_timeout_s)
        return pb.RepositoryModelUnloadResponse()

    async def ModelStreamInfer(self, request: AsyncIterator[pb.ModelInferRequest], context: ServicerContext) -> None:
        """Not offered."""
        await context.abort(
            StatusCode.UNIMPLEMENTED, "ModelStreamInfer is not supported; send each request to ModelInfer"
        )

    @answers_errors
    async def ModelInfer(self, request: pb.ModelInferRequest, context: ServicerContext) -> pb.ModelInferResponse:
        """Answer an inference request; counted with the status code that it would have over REST."""
        start = self._clock()
        timings = Timings()
        model: LoadedModel | None = None
        rollout: Rollout | None = None
        response: pb.ModelInferResponse | None = None
        keys_found: list[str] = []
        code = 500
        try:
            if self._keys is not None:
                self._check_key(self._keys, context, keys_found.append)
            model = self._registry.get(request.model_name, _version(request.model_version))
            if not request.model_version:
                rollout = self._registry.rollout(request.model_name)
                if rollout is not None and rollout.splits:
                    model = rollout.choose(_key(request, context, rollout.sticky_header))
            with model.leases:
                _check_open(request, context, model)
                response = await self._infer(request, model, context, timings, rollout, began=start)
            code = 200
        except ServingError as error:
            code = status_of(error)
            raise
        except asyncio.CancelledError:
            code = CLIENT_CLOSED_REQUEST
            raise
        finally:
            if rollout is not None and model is not None:
                rollout.answered(model, code)
            self._observer.request_done(
                model=model, protocol=PROTOCOL, code=code, seconds=self._clock() - start, timings=timings
            )
            access_log = self._door.access_log
            if access_log is not None and access_log.takes(code):
                access_log.write(
                    request_id=dict(context.trailing_metadata())[REQUEST_ID],
                    client=unquote(context.peer()),
                    key=next(iter(keys_found), None),
                    protocol=PROTOCOL,
                    model=request.model_name,
                    version=None if model is None else model.version,
                    code=code,
                    bytes=None if response is None else response.ByteSize(),
                    ms=round(1e3 * (self._clock() - start), 3),
                )
        return response

    async def _infer(
        self,
        request: pb.ModelInferRequest,
        model: LoadedModel,
        context: ServicerContext,
        timings: Timings,
        rollout: Rollout | None,
        *,
        began: float,
    ) -> pb.ModelInferResponse:
        """Decode, predict, encode. gRPC has read the request before, so that stage stays 0."""
        inference = await self._parse(request, model, began)
        options = _until(context.time_remaining(), inference.options, model)
        inputs = await self._decoding.tensors(inference.inputs, model, options, began=began)
        timings.decode = self._clock() - began
        prediction = await predict(model, inputs, options, clock=self._clock, began=began)
        timings.queue, timings.compute = prediction.queue_s, prediction.compute_s
        if rollout is not None and model is rollout.stable:
            rollout.copy(inputs, prediction)
        answered = self._clock()
        response = await self._decoding.printed(
            lambda outputs: print_infer(outputs, inference.requested, model, request.id),
            prediction.outputs,
            model,
            options,
            began=began,
        )
        timings.encode = self._clock() - answered
        return response

    async def _parse(self, request: pb.ModelInferRequest, model: LoadedModel, began: float) -> Inference:
        if is_small(request):
            return parse_infer(request, model)
        return await self._decoding.aside(lambda: parse_infer(request, model), model, began=began)

    def _check_key(self, keys: ApiKeys, context: ServicerContext, found: Callable[[str], object]) -> None:
        fields = dict(context.invocation_metadata() or ())
        keys.check(
            "infer",
            authorization=_raw(fields.get("authorization", "")),
            api_key=_raw(fields.get("x-api-key", "")),
            how=PLACE_OF_KEY,
            found=found,
        )

    def _check_admin(self, call: str, context: ServicerContext) -> None:
        fields = dict(context.invocation_metadata() or ())
        self._admin.check(
            AdminCall(
                name=call,
                credentials=_raw(fields.get("authorization", "")),
                api_key=_raw(fields.get("x-api-key", "")),
                how=PLACE_OF_KEY,
                is_near=_is_near(context.peer()),
                is_at_listener=False,
                fields=fields,
            )
        )


def _key(request: pb.ModelInferRequest, context: ServicerContext, header: str | None) -> bytes:
    """What decides whether a request goes to the canary: the metadata of that name, or else all that was sent."""
    given = dict(context.invocation_metadata() or ()).get(header) if header is not None else None
    if given is not None:
        return given if isinstance(given, bytes) else given.encode()
    raw = request.raw_input_contents
    return b"".join(raw) if raw else request.SerializeToString()


def _check_open(request: pb.ModelInferRequest, context: ServicerContext, model: LoadedModel) -> None:
    """Refuse what cannot be admitted before its tensors are decoded; gRPC's messages state their options outside."""
    options = _until(context.time_remaining(), read_options(plain_parameters(request.parameters)), model)
    level = model.batcher.rules.level(options.priority)
    model.batcher.check_open(level=level, left_s=model.timeout_s(options))


def _until(remaining_s: float | None, options: RequestOptions, model: LoadedModel) -> RequestOptions:
    """The request's options, its timeout cut to the time for which the client waits: nobody reads a later answer."""
    timeout_s = model.timeout_s(options)
    if remaining_s is None or remaining_s >= timeout_s:
        return options
    return replace(options, timeout_s=remaining_s)


def _fields(request_id: str) -> dict[str, object]:
    return {"fields": {"request_id": request_id}}


def _raw(value: str | bytes) -> bytes:
    return value if isinstance(value, bytes) else value.encode("latin-1", "replace")


def _version(text: str) -> int | None:
    """The version that a message names; None if it names none."""
    return version_number(text) if text else None


def _check_repository(name: str) -> None:
    if name:
        refuse_repository_name(name, place="message")


def _is_near(peer: str) -> bool:
    """Whether gRPC's name of a client is that of one on this machine: ``ipv4:127.0.0.1:5``, ``ipv6:%5B::1%5D:5``."""
    family, _, place = unquote(peer).partition(":")
    if family == "unix":
        return True
    return is_loopback(place.rpartition(":")[0].strip("[]"))


def _filled(message: Message, content: dict[str, Any]) -> Message:
    """The message with the names and values that REST answers with as JSON."""
    ParseDict(content, message)
    return message
