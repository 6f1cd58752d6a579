"""The open loop, a separate process: ``python -m benchmarks.serving.open_loop < plan.json``.

It sends each request when it is due, and counts its latency from there. So a server that stalls is charged for every
request that was due in that time (wrk, which waits, does not do this: "coordinated omission"). With a core of its own
it never sleeps: timers of an event loop are a millisecond late, which is as long as the measured answers. Its own delay
is measured too. Several replicas get the requests in turn.
"""

import gc
import json
import select
import socket
import sys
import time
from collections import deque

PATIENCE_S = 10


class Connection:
    """One kept-alive connection, with at most one request in progress."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.port = port
        self.received = b""
        self.number = -1

    def answer(self) -> int | None:
        """Status code of the answer; None until it is complete.

        Raises:
            ConnectionError: the server closed the connection.
        """
        data = self.socket.recv(1 << 16)
        if not data:
            raise ConnectionError
        self.received += data
        end = self.received.find(b"\r\n\r\n")
        if end < 0:
            return None
        head = self.received[:end].lower()
        at = head.find(b"content-length:")
        if at >= 0:
            size = int(head[at + 15 :].split(b"\r\n", 1)[0])
            complete = len(self.received) >= end + 4 + size
        else:
            complete = self.received.endswith(b"0\r\n\r\n")  # chunked
        if not complete:
            return None
        code = int(self.received[9:12])
        self.received = b""
        return code


class OpenLoop:
    """Sends a request at each time, with the bodies and the ports in turn.

    Args:
        requests: on the wire.
        ports: of the replicas.
        connections: to each of them.
        due_s: when each request is due, from the start on, ascending.
        sleeps: whether to wait for the next time without using the processor, which others use too.
    """

    def __init__(
        self, requests: list[bytes], *, ports: list[int], connections: int, due_s: list[float], sleeps: bool = False
    ) -> None:
        self.requests, self.ports, self.due_s, self.sleeps = requests, ports, due_s, sleeps
        self.total = len(due_s)
        self.poll = select.epoll()
        self.open: dict[int, Connection] = {}
        self.idle: dict[int, deque[Connection]] = {port: deque() for port in ports}
        for port in ports * connections:
            self.connect(port)
        self.latencies_s = [0.0] * self.total  # negative: failed
        self.late_s = [0.0] * self.total  # negative: the server was behind, so that no connection was free

    def connect(self, port: int) -> None:
        """One more idle connection."""
        connection = Connection(port)
        self.open[connection.socket.fileno()] = connection
        self.poll.register(connection.socket.fileno(), select.EPOLLIN)
        self.idle[port].append(connection)

    def run(self) -> float:
        """Send everything and wait for the answers. Returns the seconds it took."""
        clock = time.perf_counter
        start, planned, answered = clock(), 0, 0
        last = start + self.due_s[-1] + PATIENCE_S
        due: dict[int, deque[int]] = {port: deque() for port in self.ports}
        while answered < self.total and (now := clock()) < last:
            while planned < self.total and start + self.due_s[planned] <= now:
                port = self.ports[planned % len(self.ports)]
                behind = bool(due[port]) or not self.idle[port]
                self.late_s[planned] = -1.0 if behind else now - start - self.due_s[planned]
                due[port].append(planned)
                planned += 1
            for port, numbers in due.items():
                while numbers and self.idle[port]:
                    self.send(numbers.popleft(), self.idle[port].popleft())
            if self.sleeps:  # epoll counts milliseconds, select microseconds
                following = start + self.due_s[planned] if planned < self.total else last
                select.select([self.poll.fileno()], [], [], max(0.0, following - clock()))
            for number, _ in self.poll.poll(0):
                answered += self.receive(self.open[number], start)
        for connection in self.open.values():
            if connection.number >= 0:
                self.latencies_s[connection.number] = -1.0
        for number in (*(each for numbers in due.values() for each in numbers), *range(planned, self.total)):
            self.latencies_s[number] = -1.0
        return clock() - start

    def send(self, number: int, connection: Connection) -> None:
        """Send a request over an idle connection."""
        connection.number = number
        connection.socket.sendall(self.requests[number % len(self.requests)])

    def receive(self, connection: Connection, start: float) -> int:
        """Read what has arrived. Returns 1 if that completed a request."""
        try:
            code = connection.answer()
        except (ConnectionError, OSError):
            code = 0
            self.poll.unregister(connection.socket.fileno())
            del self.open[connection.socket.fileno()]
            connection.socket.close()
            if connection in self.idle[connection.port]:
                self.idle[connection.port].remove(connection)
            self.connect(connection.port)
        if code is None or connection.number < 0:
            return 0
        number, connection.number = connection.number, -1
        latency_s = time.perf_counter() - start - self.due_s[number]
        self.latencies_s[number] = latency_s if code // 100 == 2 else -1.0
        if connection.socket.fileno() >= 0:
            self.idle[connection.port].append(connection)
        return 1


def quantile(values: list[float], share: float) -> float:
    """Nearest rank."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


def main() -> None:
    """Plan from standard input, result to standard output."""
    plan = json.load(sys.stdin)
    due_s, skipped = plan["due_s"], plan["skipped"]
    loop = OpenLoop(
        [bytes.fromhex(request) for request in plan["requests"]],
        ports=plan["ports"],
        connections=plan["connections"],
        due_s=due_s,
        sleeps=plan["sleeps"],
    )
    gc.disable()
    spent_s = loop.run()
    counted = loop.latencies_s[skipped:]
    good = [latency for latency in counted if latency >= 0]
    late = [late for late in loop.late_s[skipped:] if late >= 0]
    result = {
        "rate_per_s": sum(latency >= 0 for latency in loop.latencies_s) / spent_s,
        "p50_ms": quantile(good, 0.5) * 1e3,
        "p99_ms": quantile(good, 0.99) * 1e3,
        "errors": sum(latency < 0 for latency in loop.latencies_s),
        "requests": len(good),
        "asked_per_s": len(due_s) / due_s[-1],
        "late_p99_ms": quantile(late, 0.99) * 1e3,
    }
    json.dump(result, sys.stdout)


if __name__ == "__main__":
    main()
