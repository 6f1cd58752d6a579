"""The open loop, a separate process: ``python -m benchmarks.serving.open_loop < plan.json``.

It sends request k at ``start + k / rate`` and counts its latency from there. So a server that stalls is charged for
every request that was due in that time (wrk, which waits, does not do this: "coordinated omission"). It has its own
core and never sleeps: timers of an event loop are a millisecond late, which is as long as the measured answers. Its own
delay is measured too.
"""

import gc
import json
import select
import socket
import sys
import time
from collections import deque

WARM_UP_SHARE = 0.2
"""Share of the measured seconds that is sent first and not counted."""
PATIENCE_S = 10


class Connection:
    """One kept-alive connection, with at most one request in progress."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
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
    """Sends ``total`` requests on time, with the bodies in turn."""

    def __init__(self, requests: list[bytes], *, port: int, connections: int, rate_per_s: float, total: int) -> None:
        self.requests, self.port, self.interval_s, self.total = requests, port, 1 / rate_per_s, total
        self.poll = select.epoll()
        self.open: dict[int, Connection] = {}
        self.idle: deque[Connection] = deque()
        for _ in range(connections):
            self.connect()
        self.latencies_s = [0.0] * total  # negative: failed
        self.late_s = [0.0] * total  # negative: the server was behind, so that no connection was free

    def connect(self) -> None:
        """One more idle connection."""
        connection = Connection(self.port)
        self.open[connection.socket.fileno()] = connection
        self.poll.register(connection.socket.fileno(), select.EPOLLIN)
        self.idle.append(connection)

    def run(self) -> float:
        """Send everything and wait for the answers. Returns the seconds it took."""
        clock, start, sent, answered = time.perf_counter, time.perf_counter(), 0, 0
        last = start + self.total * self.interval_s + PATIENCE_S
        behind = False  # whether due requests had to wait for a free connection
        while answered < self.total and (now := clock()) < last:
            due = start + sent * self.interval_s
            if sent < self.total and now >= due:
                if self.idle:
                    connection = self.idle.popleft()
                    connection.number = sent
                    self.late_s[sent] = -1.0 if behind else now - due
                    connection.socket.sendall(self.requests[sent % len(self.requests)])
                    sent += 1
                else:
                    behind = True
            else:
                behind = False
            for number, _ in self.poll.poll(0):
                answered += self.receive(self.open[number], start)
        for connection in self.open.values():
            if connection.number >= 0:
                self.latencies_s[connection.number] = -1.0
        for number in range(sent, self.total):
            self.latencies_s[number] = -1.0
        return clock() - start

    def receive(self, connection: Connection, start: float) -> int:
        """Read what has arrived. Returns 1 if that completed a request."""
        try:
            code = connection.answer()
        except (ConnectionError, OSError):
            code = 0
            self.poll.unregister(connection.socket.fileno())
            del self.open[connection.socket.fileno()]
            connection.socket.close()
            if connection in self.idle:
                self.idle.remove(connection)
            self.connect()
        if code is None or connection.number < 0:
            return 0
        number, connection.number = connection.number, -1
        latency_s = time.perf_counter() - start - number * self.interval_s
        self.latencies_s[number] = latency_s if code // 100 == 2 else -1.0
        if connection.socket.fileno() >= 0:
            self.idle.append(connection)
        return 1


def quantile(values: list[float], share: float) -> float:
    """Nearest rank."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


def main() -> None:
    """Plan from standard input, result to standard output."""
    plan = json.load(sys.stdin)
    rate, seconds = plan["rate_per_s"], plan["seconds"]
    skipped = int(rate * seconds * WARM_UP_SHARE)
    loop = OpenLoop(
        [bytes.fromhex(request) for request in plan["requests"]],
        port=plan["port"],
        connections=plan["connections"],
        rate_per_s=rate,
        total=skipped + max(1, int(rate * seconds)),
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
        "asked_per_s": rate,
        "late_p99_ms": quantile(late, 0.99) * 1e3,
    }
    json.dump(result, sys.stdout)


if __name__ == "__main__":
    main()
