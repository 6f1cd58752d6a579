"""How evenly connections spread over workers: by the counts that workers share, and by the kernel (SO_REUSEPORT)."""

import http.client
import re
import socket
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from benchmarks.soak.service import Service, serving

_REQUESTS = re.compile(r'^atelier_worker_requests_total\{worker="(\d+)"\} (\S+)$', re.MULTILINE)
NUMBERS = (2, 4, 8, 32)
# Seconds between two connections.
APART_S = (0.0, 0.005)
# Answered by the worker that has the connection, and counted there.
_COUNTED = ("POST", "/v1/models/none:predict")


@dataclass(frozen=True)
class Spread:
    """Connections of the busiest worker, one figure a repeat.

    Attributes:
        workers, connections: how many.
        counted: by the counts of Atelier.
        kernel: by SO_REUSEPORT.
    """

    workers: int
    connections: int
    counted: list[int]
    kernel: list[int]


def measure_spread(
    models: Path, *, workers: int, numbers: Sequence[int], repeats: int, pause_s: float = 0.0
) -> list[Spread]:
    """Open connections at an interval in seconds, and find out which worker each of them has."""
    with serving(models, "--workers", str(workers)) as service:
        return [
            Spread(
                workers,
                connections,
                [_busiest_counted(service, connections, pause_s) for _ in range(repeats)],
                [_busiest_by_kernel(workers, connections) for _ in range(repeats)],
            )
            for connections in numbers
        ]


def _busiest_counted(service: Service, connections: int, pause_s: float) -> int:
    before = _requests(service)
    with ExitStack() as stack:
        lines = [http.client.HTTPConnection(service.address, timeout=30) for _ in range(connections)]
        for line in lines:
            stack.callback(line.close)
            line.connect()
            time.sleep(pause_s)
        for line in lines:
            line.request(*_COUNTED, body=b"{}")
            line.getresponse().read()
    return max((_requests(service) - before).values())


def _requests(service: Service) -> Counter[str]:
    """Inference requests so far, by the number of the worker."""
    return Counter({worker: int(float(value)) for worker, value in _REQUESTS.findall(service.metrics())})


def _busiest_by_kernel(workers: int, connections: int) -> int:
    """The kernel chooses among sockets by a hash of the addresses, independently of their process."""
    with ExitStack() as stack:
        listening = [stack.enter_context(socket.socket()) for _ in range(workers)]
        for each in listening:
            each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            each.bind(("127.0.0.1", listening[0].getsockname()[1] if each is not listening[0] else 0))
            each.listen(connections)
            each.settimeout(0)
        for _ in range(connections):
            stack.enter_context(socket.create_connection(listening[0].getsockname()))
        return max(_waiting(each) for each in listening)


def _waiting(listening: socket.socket) -> int:
    count = 0
    while True:
        try:
            connection, _ = listening.accept()
        except BlockingIOError:
            return count
        connection.close()
        count += 1
