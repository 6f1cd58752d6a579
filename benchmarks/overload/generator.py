"""The load generator, a separate process: ``python -m benchmarks.overload.generator < plan.json``.

Each stream sends request k at ``start + k / rate``, even if earlier ones have failed. Every offered request is counted
once: answered, refused, reset or timed out, with its latency from when it was due. A client without an answer after
``patience_s`` closes its connection, as real clients do.
"""

import gc
import json
import select
import sys
import time
from collections import deque
from dataclasses import dataclass, field

from benchmarks.serving.open_loop import Connection, quantile

# Connections that a stream opens at the start, and its most connections.
FIRST, MOST = 64, 3_900
REFUSED = {429, 503, 504}


@dataclass
class Stream:
    """Requests to one model."""

    name: str
    request: bytes
    port: int
    rate_per_s: float
    total: int
    skipped: int
    idle: deque[Connection] = field(default_factory=deque)
    opened: int = 0
    sent: int = 0
    # Outcome and latency of each request, by its number.
    outcomes: list[str] = field(default_factory=list)
    latencies_s: list[float] = field(default_factory=list)
    waiting: deque[tuple[float, Connection, int]] = field(default_factory=deque)

    def __post_init__(self) -> None:
        self.outcomes = ["not sent"] * self.total
        self.latencies_s = [0.0] * self.total


class Generator:
    """Runs streams in parallel."""

    def __init__(self, streams: list[Stream], *, patience_s: float) -> None:
        self.streams = streams
        self.patience_s = patience_s
        self.poll = select.epoll()
        self.open: dict[int, tuple[Stream, Connection]] = {}
        for stream in streams:
            for _ in range(FIRST):
                self.connect(stream)

    def connect(self, stream: Stream) -> None:
        """One more idle connection."""
        connection = Connection(stream.port)
        self.open[connection.socket.fileno()] = stream, connection
        self.poll.register(connection.socket.fileno(), select.EPOLLIN)
        stream.idle.append(connection)
        stream.opened += 1

    def run(self) -> float:
        """Send everything. Returns the seconds it took, once every request has an outcome."""
        clock = time.perf_counter
        start = clock()
        while True:
            now = clock()
            done = True
            for stream in self.streams:
                if stream.sent < stream.total:
                    done = False
                    if now >= start + stream.sent / stream.rate_per_s:
                        self.send(stream, start, now)
                self.give_up(stream, start, now)
                if stream.waiting:
                    done = False
            if done:
                return clock() - start
            for number, _ in self.poll.poll(0):
                if number in self.open:
                    self.receive(*self.open[number], start)

    def send(self, stream: Stream, start: float, now: float) -> None:
        """The next request, if a connection is free or another one may be opened."""
        if not stream.idle:
            if stream.opened >= MOST:
                # The client is at its limit: the request times out before it is sent.
                stream.outcomes[stream.sent] = "timed out"
                stream.sent += 1
                return
            try:
                self.connect(stream)
            except OSError:
                stream.outcomes[stream.sent] = "reset"
                stream.sent += 1
                return
        connection = stream.idle.pop()
        connection.number = stream.sent
        stream.sent += 1
        stream.outcomes[connection.number] = "timed out"
        stream.waiting.append((now, connection, connection.number))
        try:
            connection.socket.sendall(stream.request)
        except OSError:
            self.drop(stream, connection, "reset")

    def receive(self, stream: Stream, connection: Connection, start: float) -> None:
        """Read what has arrived."""
        try:
            code = connection.answer()
        except OSError:
            self.drop(stream, connection, "reset")
            return
        number = connection.number
        if code is None or number < 0:
            return
        connection.number = -1
        stream.latencies_s[number] = time.perf_counter() - start - number / stream.rate_per_s
        stream.outcomes[number] = "answered" if code == 200 else "refused" if code in REFUSED else f"code {code}"
        stream.idle.append(connection)

    def give_up(self, stream: Stream, start: float, now: float) -> None:
        """Close the connections whose requests have waited for too long."""
        waiting = stream.waiting
        while waiting:
            since, connection, number = waiting[0]
            if connection.number == number:
                if now - since < self.patience_s:
                    return
                self.drop(stream, connection, "timed out")
            waiting.popleft()

    def drop(self, stream: Stream, connection: Connection, outcome: str) -> None:
        """Close a connection and record the outcome of the request on it, if there is one."""
        if connection.number >= 0:
            stream.outcomes[connection.number] = outcome
            connection.number = -1
        elif connection in stream.idle:  # closed by the server between two requests
            stream.idle.remove(connection)
        self.poll.unregister(connection.socket.fileno())
        del self.open[connection.socket.fileno()]
        connection.socket.close()
        stream.opened -= 1


def summary(stream: Stream) -> dict[str, object]:
    """Counts and latencies of a stream, without its warm-up."""
    outcomes = stream.outcomes[stream.skipped :]
    latencies = stream.latencies_s[stream.skipped :]
    counts = {name: outcomes.count(name) for name in sorted(set(outcomes))}
    result: dict[str, object] = {"name": stream.name, "offered_per_s": stream.rate_per_s, "counts": counts}
    for kind in ("answered", "refused"):
        values = [late for late, outcome in zip(latencies, outcomes, strict=True) if outcome == kind]
        result[f"{kind}_p50_ms"] = quantile(values, 0.5) * 1e3
        result[f"{kind}_p99_ms"] = quantile(values, 0.99) * 1e3
        result[f"{kind}_per_s"] = len(values) / (len(outcomes) / stream.rate_per_s)
    return result


def saturate(plan: dict[str, object]) -> float:
    """Answers per second with that many connections in a closed loop."""
    stream = plan["streams"][0]  # type: ignore[index]
    request = bytes.fromhex(stream["request"])
    connections = [Connection(stream["port"]) for _ in range(int(plan["connections"]))]  # type: ignore[call-overload]
    poll = select.epoll()
    by_number = {connection.socket.fileno(): connection for connection in connections}
    for number, connection in by_number.items():
        poll.register(number, select.EPOLLIN)
        connection.socket.sendall(request)
    seconds = float(plan["seconds"])  # type: ignore[arg-type]
    answered = [0, 0]
    start = time.perf_counter()
    while (now := time.perf_counter()) < start + 1.5 * seconds:
        counted = now > start + 0.5 * seconds
        for number, _ in poll.poll(0.1):
            if (code := by_number[number].answer()) is not None:
                answered[counted] += code == 200
                by_number[number].socket.sendall(request)
    return answered[True] / seconds


def main() -> None:
    """Plan from standard input, result to standard output."""
    plan = json.load(sys.stdin)
    gc.disable()
    if plan.get("saturate"):
        json.dump({"answered_per_s": saturate(plan)}, sys.stdout)
        return
    streams = []
    for each in plan["streams"]:
        skipped = int(each["rate_per_s"] * plan["warm_up_s"])
        total = skipped + max(1, int(each["rate_per_s"] * plan["seconds"]))
        request = bytes.fromhex(each["request"])
        streams.append(Stream(each["name"], request, each["port"], each["rate_per_s"], total, skipped))
    generator = Generator(streams, patience_s=plan["patience_s"])
    spent_s = generator.run()
    json.dump({"spent_s": spent_s, "streams": [summary(stream) for stream in streams]}, sys.stdout)


if __name__ == "__main__":
    main()
