"""``ModelStreamInfer``: many requests and their replies within one call.

Source: Triton, gRPC service definition and decoupled models: an error of one request is a message of the stream, which
continues; the parameter ``triton_final_response`` marks the last reply to its request.
"""

import asyncio
from collections.abc import AsyncIterator, Callable

from grpc import StatusCode
from grpc.aio import ServicerContext

from app.edge.grpc import inference_pb2 as pb
from app.edge.grpc.calls import Refusal
from app.edge.grpc.inference import GrpcInference
from app.edge.grpc.open_streams import OpenStreams
from app.errors import Overloaded, ServingError

FINAL = "triton_final_response"
# Requests of a stream that are answered at the same time, and their bytes; more is not read from the client.
MOST_AT_ONCE, MOST_BYTES_AT_ONCE = 64, 16 * 2**20
# All calls of a client carry the same credentials: the stream ends with the first request that these do not admit.
_ENDS = frozenset({StatusCode.UNAUTHENTICATED, StatusCode.PERMISSION_DENIED})


class InferenceStream:
    """One call of ``ModelStreamInfer``.

    Replies come in the order of their requests, except the pieces of a text, each of which is sent immediately.

    Args:
        inference: answers each request.
        context: of the call.
        request_id: of the call; all its requests are logged with it.
        is_ending: whether the process is stopping; it does not wait for further requests.
        streams: of the process.
        send_timeout_s: for the client to read part of a reply.
    """

    def __init__(
        self,
        inference: GrpcInference,
        context: ServicerContext,
        request_id: str,
        *,
        is_ending: Callable[[], bool],
        streams: OpenStreams,
        send_timeout_s: float,
    ) -> None:
        self._inference = inference
        self._context = context
        self._request_id = request_id
        self._is_ending = is_ending
        self._streams = streams
        self._send_timeout_s = send_timeout_s
        self._replies: asyncio.Queue[pb.ModelStreamInferResponse | Refusal | None] = asyncio.Queue(MOST_AT_ONCE)
        self._answers: set[asyncio.Task[None]] = set()
        self._nbytes = 0  # of the requests that are being answered
        self._has_room = asyncio.Event()

    async def run(self, requests: AsyncIterator[pb.ModelInferRequest | ServingError]) -> Refusal | None:
        """Answer until the client ends its stream, or the service stops.

        Args:
            requests: each as read, or the reason why it cannot be read.

        Returns:
            The status that ends the call early; None: all requests are answered.
        """
        reading = asyncio.create_task(self._read(requests))

        def changed() -> None:
            if self._is_ending():
                reading.cancel()

        ending = asyncio.create_task(self._end(reading))
        try:
            with self._streams.one(changed):
                changed()
                while (reply := await self._replies.get()) is not None:
                    if isinstance(reply, Refusal):
                        return reply
                    async with asyncio.timeout(self._send_timeout_s):
                        await self._context.write(reply)
        except Overloaded as error:
            return Refusal.of(error)
        except TimeoutError:
            return Refusal(
                StatusCode.CANCELLED, f"the client has read no part of a reply for {self._send_timeout_s:g} s"
            )
        finally:
            for task in (reading, ending, *self._answers):
                task.cancel()
        return None

    async def _read(self, requests: AsyncIterator[pb.ModelInferRequest | ServingError]) -> None:
        """Start to answer each request when it arrives, while the limits allow it."""
        last: asyncio.Task[None] | None = None
        async for request in requests:
            nbytes = 0 if isinstance(request, ServingError) else request.ByteSize()
            self._nbytes += nbytes
            last = asyncio.create_task(self._answer(request, nbytes, last))
            self._answers.add(last)
            last.add_done_callback(self._answers.discard)
            while len(self._answers) >= MOST_AT_ONCE or self._nbytes >= MOST_BYTES_AT_ONCE:
                self._has_room.clear()
                await self._has_room.wait()

    async def _end(self, reading: asyncio.Task[None]) -> None:
        """Send the last reply's mark once the client or the service has ended the stream and all is answered."""
        await asyncio.wait({reading})
        while self._answers:
            await asyncio.wait(self._answers)
        await self._replies.put(None)

    async def _answer(
        self, request: pb.ModelInferRequest | ServingError, nbytes: int, previous: asyncio.Task[None] | None
    ) -> None:
        """Answer a request, and send the reply after that to the one before it."""
        try:
            if isinstance(request, ServingError):
                reply: pb.ModelInferResponse | Refusal | None = Refusal.of(request)
            else:
                call = self._inference.call(request, self._context, self._request_id, self._emit)
                reply = await self._inference.answer(call)
            if previous is not None:
                await asyncio.wait({previous})
            if isinstance(reply, pb.ModelInferResponse):
                await self._send(reply, is_final=True)
            elif reply is not None and reply.code in _ENDS:
                await self._replies.put(reply)
            elif reply is not None:
                about = pb.ModelInferResponse()
                if not isinstance(request, ServingError):
                    about.model_name, about.id = request.model_name, request.id
                await self._send(about, is_final=True, error=reply.details)
        finally:
            self._nbytes -= nbytes
            self._has_room.set()

    async def _emit(self, reply: pb.ModelInferResponse) -> None:
        """Send a reply that is not the last one to its request."""
        await self._send(reply, is_final=False)

    async def _send(self, reply: pb.ModelInferResponse, *, is_final: bool, error: str = "") -> None:
        reply.parameters[FINAL].bool_param = is_final
        await self._replies.put(pb.ModelStreamInferResponse(error_message=error, infer_response=reply))
