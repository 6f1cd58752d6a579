"""Requests byte by byte over a plain TCP connection."""

import json
import re
import socket
import time
from contextlib import ExitStack

from tests.support.tiny_models import SIDE

PATH = "/v1/models/brightness:predict"


def head(extra="", *, method="POST", path=PATH, version="1.1", length=SIDE * SIDE, form="application/octet-stream"):
    framing = f"Content-Length: {length}\r\n" if length is not None else ""
    return f"{method} {path} HTTP/{version}\r\nHost: localhost\r\nContent-Type: {form}\r\n{extra}{framing}\r\n".encode()


def asked(service, path, document, *, times):
    """Connections on each of which the same request was sent."""
    body = json.dumps(document).encode()
    packet = head(path=path, length=len(body), form="application/json") + body
    return [Line(service.url).send(packet) for _ in range(times)]


def under_way(service, path, document, *, times):
    """The same, once the service, a single process, has read them all.

    A client in a thread may still be connecting when the first of them fill the queue; a stop then resets it.
    """
    lines = asked(service, path, document, times=times)
    with Line(service.url) as last:  # connections are accepted and read in the order in which they were opened
        assert last.send(head(method="GET", path="/v2/health/live", length=None)).reply()[0] == 200
    return lines


def last_replies(lines):
    """Status and document of the next reply on each, and the connections closed."""
    with ExitStack() as stack:
        return [stack.enter_context(line).reply() for line in lines]


class Line:
    """A bare connection."""

    def __init__(self, url):
        host, port = re.fullmatch(r"http://(.+):(\d+)/?", str(url)).groups()
        self.socket = socket.create_connection((host, int(port)), timeout=15)
        self._seen = self.top = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, *packets):
        for index, packet in enumerate(packets):
            if index:
                time.sleep(0.03)  # so that it is a separate packet
            self.socket.sendall(packet)
        return self

    def reply(self):
        """Status and document of the next reply; None where the connection is closed."""
        while b"\r\n\r\n" not in self._seen:
            if not (part := self.socket.recv(65_536)):
                assert self._seen == b""
                return None
            self._seen += part
        self.top, _, self._seen = self._seen.partition(b"\r\n\r\n")
        length = int(re.search(rb"(?i)content-length: (\d+)", self.top)[1])
        while len(self._seen) < length:
            self._seen += self.socket.recv(65_536)
        body, self._seen = self._seen[:length], self._seen[length:]
        return int(self.top.split(b" ")[1]), json.loads(body)

    def is_closed_under(self, packet):
        """Whether repeated sending of the packet ends in an error."""
        ends_at = time.monotonic() + 20
        try:
            while time.monotonic() < ends_at:
                self.send(packet)
        except ConnectionError:
            return True
        return False

    def is_silent(self):
        """Whether no bytes arrive for a while, and the connection stays open."""
        self.socket.settimeout(0.3)
        try:
            return self.socket.recv(1) is None
        except TimeoutError:
            return True
        finally:
            self.socket.settimeout(15)
