"""The gRPC server: listening, limits, and stopping."""

import asyncio
import logging
from collections.abc import Callable

import grpc

from app.edge.entry.tls import Tls
from app.edge.grpc.health import HealthServicer
from app.edge.grpc.inference_pb2_grpc import add_GRPCInferenceServiceServicer_to_server
from app.edge.grpc.joint_calls import JointCalls
from app.edge.grpc.readable import ReadableRequests
from app.edge.grpc.servicer import FIELD_LIMITS, INFER, InferenceServicer
from app.edge.grpc.tfs.servicer import TfsServicer
from app.errors import CannotListen

log = logging.getLogger("atelier.grpc")

# Most calls that gRPC keeps while the event loop is busy, 12 KB each. It resets further ones, which can neither be
# counted nor explained; its own limits are 1,000 and 3,000. A limit for each connection is not set: clients learn it
# only after their first calls, which would be reset.
PENDING_CALLS = 16_384
# Time to send the answers of calls that were failed because they did not finish in time.
LAST_WORDS_S = 1.0


class GrpcServer:
    """Serves gRPC calls from ``start`` to ``stop``, on the event loop that runs it.

    Args:
        servicer: answers the Open Inference Protocol.
        plain: answers some of its inference requests together; None: each is answered by itself.
        tfs: answers TensorFlow Serving's services.
        health: answers grpc.health.v1.
        fail_unfinished: called when calls do not finish in time; answers all of them.
        host: address to listen on.
        tls: encryption; None: no TLS.
        message_limit_bytes: largest request; gRPC answers a larger one with RESOURCE_EXHAUSTED.
        max_connections: most open connections; gRPC closes further ones.
        handshake_timeout_s: for a client to complete the handshakes of TLS and HTTP/2.
        stop_timeout_s: seconds in which calls in progress may finish.
    """

    def __init__(
        self,
        servicer: InferenceServicer,
        *,
        plain: JointCalls | None,
        tfs: TfsServicer,
        health: HealthServicer,
        fail_unfinished: Callable[[], None],
        host: str,
        tls: Tls | None,
        message_limit_bytes: int,
        max_connections: int,
        handshake_timeout_s: float,
        stop_timeout_s: float,
    ) -> None:
        self._servicer = servicer
        self._plain = plain
        self._tfs = tfs
        self._health = health
        self._fail_unfinished = fail_unfinished
        self._host = f"[{host}]" if ":" in host else host
        self._tls = tls
        self._message_limit_bytes = message_limit_bytes
        self._max_connections = max_connections
        self._handshake_timeout_s = handshake_timeout_s
        self._stop_timeout_s = stop_timeout_s
        self._server: grpc.aio.Server | None = None
        self._stopping: asyncio.Task[None] | None = None

    async def start(self, port: int, *, shared: bool = False) -> None:
        """Listen.

        Args:
            port: 0 picks a free one, which the log names.
            shared: other workers of this service listen on it too; the supervisor reserves it for them.

        Raises:
            CannotListen: the address is in use, or does not belong to this machine.
        """
        options = [
            ("grpc.max_receive_message_length", self._message_limit_bytes),
            ("grpc.max_allowed_incoming_connections", self._max_connections),
            ("grpc.server_handshake_timeout_ms", int(self._handshake_timeout_s * 1e3)),
            ("grpc.server.max_pending_requests", PENDING_CALLS),
            ("grpc.server.max_pending_requests_hard_limit", PENDING_CALLS),
            # Without this, a second service would share the port instead of being refused.
            ("grpc.so_reuseport", int(shared)),
        ]
        limits = {**FIELD_LIMITS, **self._tfs.field_limits(), **self._health.field_limits()}
        shortcuts = {} if self._plain is None else {INFER: self._plain}
        readable = ReadableRequests(self._servicer.refuse_unread, limits, self._message_limit_bytes, shortcuts)
        server = grpc.aio.server(options=options, interceptors=(readable,))
        add_GRPCInferenceServiceServicer_to_server(self._servicer, server)  # type: ignore[no-untyped-call]
        server.add_generic_rpc_handlers((*self._tfs.handlers(), self._health.handler(), self._servicer.unsupported()))
        try:
            port = self._listen(server, f"{self._host}:{port}")
        except RuntimeError as error:
            raise CannotListen(
                f"cannot listen on {self._host}:{port} for gRPC; choose another port with --grpc-port"
            ) from error
        await server.start()
        self._server = server
        log.info("gRPC listens on %s:%d", self._host, port)

    def _listen(self, server: grpc.aio.Server, address: str) -> int:
        if self._tls is None:
            return int(server.add_insecure_port(address))
        key, cert, client_ca = self._tls.parts()
        credentials = grpc.ssl_server_credentials(
            [(key, cert)], root_certificates=client_ca, require_client_auth=client_ca is not None
        )
        return int(server.add_secure_port(address, credentials))

    def begin_stop(self) -> None:
        """Accept no new call from now on; calls in progress continue."""
        if self._stopping is None:
            self._stopping = asyncio.create_task(self._stop())

    async def stop(self) -> None:
        """Accept no new call, and return when all calls in progress are answered: in time, or else with Draining."""
        self.begin_stop()
        assert self._stopping is not None
        await self._stopping

    async def _stop(self) -> None:
        if self._server is None:
            return
        fail = asyncio.get_running_loop().call_later(self._stop_timeout_s, self._fail_unfinished)
        try:
            await self._server.stop(self._stop_timeout_s + LAST_WORDS_S)
        finally:
            fail.cancel()
