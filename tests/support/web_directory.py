"""A web server that lists and serves a directory, as nginx's autoindex and Apache's do, and that can go away."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from html import escape
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import quote

# What Apache writes above the files: links that sort, and one to the parent.
APACHE = '<a href="?C=N;O=D">Name</a> <a href="/">Parent Directory</a> <a href="http://other.example/x/">Other</a>'


class _Handler(SimpleHTTPRequestHandler):
    def __init__(
        self, *arguments: Any, asked: list[str], answers: threading.Event, endless: threading.Event, **options: Any
    ) -> None:
        self._asked, self._answers, self._endless = asked, answers, endless
        super().__init__(*arguments, **options)

    def do_GET(self) -> None:
        self._asked.append(self.path)
        self._answers.wait(60)
        if self._endless.is_set():
            self.send_response(200)
            self.end_headers()
            with suppress(ConnectionError):
                while self._endless.is_set():
                    self.wfile.write(b"<a href='x'>x</a>" * 10_000)
            return
        super().do_GET()

    def list_directory(self, path: Any) -> Any:
        names = sorted(f"{each.name}/" if each.is_dir() else each.name for each in Path(path).iterdir())
        page = APACHE + "".join(f'<a href="{quote(name)}">{escape(name)}</a>' for name in names)
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(page.encode())))
        self.end_headers()
        return BytesIO(page.encode())

    def log_message(self, *_: Any) -> None:
        pass


class WebDirectory:
    """Serves ``directory`` at ``url`` until ``stop``, and again after ``start``, at the same port.

    Attributes:
        asked: paths of all requests.
        answers: cleared, no request is answered.
        endless: set, no reply ends.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._port = 0
        self._reserved = socket.socket()
        self.asked: list[str] = []
        self.answers = threading.Event()
        self.answers.set()
        self.endless = threading.Event()
        self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def start(self) -> None:
        handler = partial(
            _Handler, directory=str(self._directory), asked=self.asked, answers=self.answers, endless=self.endless
        )
        self._reserved.close()
        self._server = ThreadingHTTPServer(("127.0.0.1", self._port), handler)
        self._port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def end(self) -> None:
        self.stop()
        self._reserved.close()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._reserved.close()
        self._reserved = socket.socket()  # that does not listen: another process could get the port and answer
        self._reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._reserved.bind(("127.0.0.1", self._port))


@contextmanager
def web_directory(directory: Path) -> Iterator[WebDirectory]:
    """A ``WebDirectory`` that ends with the block."""
    server = WebDirectory(directory)
    try:
        yield server
    finally:
        server.end()
