"""Steady load from threads: good and bad requests at fixed rates, and clients that leave before their answer."""

import http.client
import itertools
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from benchmarks.soak.requests import HEADER_LENGTH, Ask, Tensors

CLIENTS = 8
TIMEOUT_S = 30
NO_ANSWER = 0
"""Used instead of a status code."""


@dataclass
class Tally:
    """The results of the requests so far.

    Attributes:
        codes: good requests by status code.
        unanswered: good requests without 200, by kind and reason.
        wrong: good requests with a wrong answer, by kind.
        refused: bad requests by status code.
        accepted: bad requests that were not answered with 4xx, by kind.
        gone: clients that left.
        latencies_s: of good requests, from when each was due, or from when it was sent if the rate has no limit.
    """

    codes: Counter[int] = field(default_factory=Counter)
    unanswered: Counter[str] = field(default_factory=Counter)
    wrong: Counter[str] = field(default_factory=Counter)
    refused: Counter[int] = field(default_factory=Counter)
    accepted: Counter[str] = field(default_factory=Counter)
    gone: int = 0
    latencies_s: list[float] = field(default_factory=list)

    @property
    def lost(self) -> int:
        """Good requests that were not answered with 200."""
        return sum(count for code, count in self.codes.items() if code != 200)


class Traffic:
    """Sends requests until the block ends, each when it is due, independent of earlier ones.

    Args:
        address: "host:port" of HTTP.
        good, bad: requests, sent in turn.
        good_per_s, bad_per_s, gone_per_s: rates; clients that leave send a good request. Without a rate of good
            requests, each client sends its next one as soon as it has an answer.
        grpc_per_s: rate of ``grpc`` requests, which are sent unless ``grpc_port`` is None or the rate 0; None: the next
            one is sent as soon as there is an answer.
        clients: connections for good requests.
    """

    def __init__(
        self,
        address: str,
        *,
        good: Sequence[Ask],
        good_per_s: float | None,
        bad: Sequence[Ask] = (),
        bad_per_s: float = 0,
        gone_per_s: float = 0,
        grpc: Sequence[Tensors] = (),
        grpc_port: int | None = None,
        grpc_per_s: float | None = 0,
        clients: int = CLIENTS,
    ) -> None:
        self.tally = Tally()
        self._address = address
        self._lock = threading.Lock()
        self._reason = threading.local()  # why the last request of this thread got no answer
        self._ended = threading.Event()
        self._began = 0.0
        numbers = itertools.count()
        self._work: list[tuple[Callable[[], None], ...]] = []
        self._threads = [
            threading.Thread(target=self._each, args=(numbers, good_per_s, good, self._send_good))
            for _ in range(clients)
        ]
        if bad and bad_per_s:
            self._threads.append(self._thread(bad_per_s, bad, self._send_bad))
        if gone_per_s:
            self._threads.append(self._thread(gone_per_s, good, self._leave))
        if grpc and grpc_port and grpc_per_s != 0:
            self._stub = _stub(grpc_port)
            self._threads.append(self._thread(grpc_per_s, grpc, self._send_grpc))

    def __enter__(self) -> "Traffic":
        self._began = time.perf_counter()
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def _thread(self, rate_per_s: float | None, asks: Sequence[Any], send: Callable[..., None]) -> threading.Thread:
        return threading.Thread(target=self._each, args=(itertools.count(), rate_per_s, asks, send))

    def _each(
        self, numbers: "itertools.count[int]", rate_per_s: float | None, asks: Sequence[Any], send: Callable[..., None]
    ) -> None:
        """Send the next request when it is due, until the end; threads with the same ``numbers`` share the rate."""
        connection = http.client.HTTPConnection(self._address, timeout=TIMEOUT_S)
        while not self._ended.is_set():
            number = next(numbers)
            due = time.perf_counter() if rate_per_s is None else self._began + number / rate_per_s
            if self._ended.wait(max(0.0, due - time.perf_counter())):
                break
            send(asks[number % len(asks)], connection, due)
        connection.close()

    def _send_good(self, ask: Ask, connection: http.client.HTTPConnection, due: float) -> None:
        status, right = self._exchange(ask, connection)
        with self._lock:
            self.tally.codes[status] += 1
            self.tally.latencies_s.append(time.perf_counter() - due)
            if status != 200:
                self.tally.unanswered[f"{ask.kind}: {status or self._reason.text}"] += 1
            if status == 200 and not right:
                self.tally.wrong[ask.kind] += 1

    def _send_bad(self, ask: Ask, connection: http.client.HTTPConnection, _: float) -> None:
        status, right = self._exchange(ask, connection)
        with self._lock:
            self.tally.refused[status] += 1
            # A connection that the service closes while a too large body is sent also counts as a refusal.
            if not right and status != NO_ANSWER:
                self.tally.accepted[ask.kind] += 1

    def _exchange(self, ask: Ask, connection: http.client.HTTPConnection) -> tuple[int, bool]:
        try:
            connection.request(ask.method, ask.path, ask.body, dict(ask.headers))
            reply = connection.getresponse()
            body = reply.read()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            self._reason.text = repr(error)
            return NO_ANSWER, False
        length = reply.getheader(HEADER_LENGTH)
        is_readable = reply.status == 200 or ask.answer is None
        return reply.status, is_readable and ask.is_right(reply.status, body, int(length) if length else None)

    def _leave(self, ask: Ask, _: http.client.HTTPConnection, due: float) -> None:
        """Send all of a request, half of it or only its head, and close the connection."""
        host, port = self._address.rsplit(":", 1)
        lines = [f"{ask.method} {ask.path} HTTP/1.1", "Host: localhost", f"Content-Length: {len(ask.body)}"]
        lines += [f"{name}: {value}" for name, value in ask.headers.items()]
        head = "\r\n".join([*lines, "", ""]).encode()
        whole = head + ask.body
        size = (len(whole), len(head) + len(ask.body) // 2, len(head) // 2)[self.tally.gone % 3]
        with socket.create_connection((host, int(port)), timeout=TIMEOUT_S) as leaving:
            leaving.sendall(whole[:size])
        with self._lock:
            self.tally.gone += 1

    def _send_grpc(self, ask: Tensors, _: http.client.HTTPConnection, due: float) -> None:
        import grpc

        try:
            found = _infer(self._stub, ask)
            status = 200
        except grpc.RpcError as error:
            found, status = None, NO_ANSWER
            reason = f"gRPC: {error.code()}: {error.details()}"
        with self._lock:
            if status != 200:
                self.tally.unanswered[reason] += 1
            self.tally.codes[status] += 1
            self.tally.latencies_s.append(time.perf_counter() - due)
            if found is not None and not np.abs(found - ask.answer).max() <= ask.tolerance:
                self.tally.wrong["gRPC"] += 1


def _stub(port: int) -> Any:
    """The messages of Triton's client, for the same protocol: they and ours cannot be in one process."""
    import grpc
    from tritonclient.grpc.service_pb2_grpc import GRPCInferenceServiceStub

    return GRPCInferenceServiceStub(grpc.insecure_channel(f"127.0.0.1:{port}"))


def _infer(stub: Any, ask: Tensors) -> Any:
    from tritonclient.grpc.service_pb2 import ModelInferRequest

    from benchmarks.soak.requests import DATATYPES

    request = ModelInferRequest(model_name=ask.model, raw_input_contents=[np.ascontiguousarray(ask.values).tobytes()])
    request.inputs.add(name=ask.name, datatype=DATATYPES[str(ask.values.dtype)], shape=ask.values.shape)
    # As the clients of HTTP do, a call waits while its connection is opened again; without this it fails at once.
    reply = stub.ModelInfer(request, timeout=TIMEOUT_S, wait_for_ready=True)
    return np.frombuffer(reply.raw_output_contents[0], "<f4").reshape(ask.answer.shape)
