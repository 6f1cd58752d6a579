"""A server of the Hugging Face hub's API, as far as its own client asks for the files of a repository."""

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

COMMIT = "a" * 40


class _Handler(BaseHTTPRequestHandler):
    def __init__(self, *arguments: Any, directory: Path, asked: list[str], **options: Any) -> None:
        self._directory, self._asked = directory, asked
        super().__init__(*arguments, **options)

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self._asked.append(path)
        file = self._directory / path.removeprefix("/owner/repo/resolve/main/")
        if path.startswith("/api/models/owner/repo/tree/main"):
            self._reply(json.dumps([self._entry(each) for each in sorted(self._directory.rglob("*"))]).encode())
        elif path in ("/api/models/owner/repo", "/api/models/owner/repo/revision/main"):
            self._reply(json.dumps({"id": "owner/repo", "sha": COMMIT, "siblings": []}).encode())
        elif path.startswith("/owner/repo/resolve/main/") and file.is_file():
            self._reply(file.read_bytes(), ("ETag", '"x"'), ("X-Repo-Commit", COMMIT))
        else:
            self.send_error(404)

    def log_message(self, *_: Any) -> None:
        pass

    def _entry(self, path: Path) -> dict[str, Any]:
        name = path.relative_to(self._directory).as_posix()
        if path.is_dir():
            return {"type": "directory", "oid": "0" * 40, "size": 0, "path": name}
        data = path.read_bytes()
        return {"type": "file", "oid": hashlib.sha1(data).hexdigest(), "size": len(data), "path": name}

    def _reply(self, body: bytes, *headers: tuple[str, str]) -> None:
        self.send_response(200)
        for name, value in (*headers, ("Content-Length", str(len(body)))):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


@contextmanager
def hub(directory: Path) -> Iterator[tuple[str, list[str]]]:
    """Serves ``directory`` as owner/repo; yields the URL of the hub, and the paths that were asked for."""
    asked: list[str] = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, directory=directory, asked=asked))
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", asked
    finally:
        server.shutdown()
        server.server_close()
