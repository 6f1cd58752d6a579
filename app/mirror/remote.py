"""Lists and reads files at a URL, by fsspec. Every call blocks."""

import importlib
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple, Protocol
from urllib.parse import quote

from app.errors import ServingError
from app.mirror.location import PACKAGES, Location
from app.mirror.pages import names_on

# Files of all models together: a listing is kept in memory.
MOST_FILES = 100_000
# Directories of a web server that are listed, and how deep; a version may have directories in it.
MOST_PAGES = 5_000
PAGE_LIMIT_BYTES = 4 * 2**20
DEEPEST = 6
CHUNK_BYTES = 2**20
CONNECT_S = 10
READ_S = 30
# A file may take this long, and a second more for each of so many bytes.
FILE_S = 60.0
SLOWEST_BYTES_PER_S = 2**16
# Errors that packages have in common.
_IN_WORDS: dict[type[Exception], str] = {
    FileNotFoundError: "it does not exist, or may not be listed",
    PermissionError: "access is denied",
    TimeoutError: f"no answer within {READ_S} s",
}
# What a storage says of a file that changes with its content.
_MARKS = ("ETag", "etag", "LastModified", "updated", "last_modified", "mtime", "blob_id", "content_md5")


class Unreachable(ServingError):
    """The storage does not answer, refuses, or lists what cannot be a models directory."""


class Listed(NamedTuple):
    """A file at the URL.

    Attributes:
        size: bytes; None if the storage does not say.
        mark: differs when the content differs; None if the storage does not say.
    """

    size: int | None
    mark: str | None


class Remote(Protocol):
    """Files below a URL, by their relative paths."""

    def files(self) -> Mapping[str, Listed]:
        """Every file. Raises Unreachable."""
        ...

    def chunks(self, name: str, limit_bytes: int) -> Iterator[bytes]:
        """The content, at most ``limit_bytes`` of it. Raises Unreachable."""
        ...


class FsspecRemote:
    """Implements ``Remote``.

    Args:
        location: the URL; its package must be installed (``check_installed``).
    """

    def __init__(self, location: Location) -> None:
        self._location = location
        self._is_web = location.scheme in {"http", "https"}

    def files(self) -> Mapping[str, Listed]:
        """See ``Remote``."""
        with self._told():
            files, root = self._opened()
            files.invalidate_cache()
            listed = {}
            for name, file in self._by_pages() if self._is_web else _found(files, root):
                listed[name] = file
                if len(listed) > MOST_FILES:
                    raise Unreachable(f"{self._location.url} has more than {MOST_FILES} files below it")
            return listed

    def chunks(self, name: str, limit_bytes: int) -> Iterator[bytes]:
        """See ``Remote``. A file that comes more slowly than 64 KiB/s is given up after a minute."""
        with self._told():
            files, root = self._opened()
            # A bucket is read in ranges; others in one request, and without asking for the size before it.
            as_stream = {"hf": {"block_size": 0}, "http": {"block_size": 0, "size": 1}}
            how = as_stream.get("http" if self._is_web else self._location.scheme, {"cache_type": "readahead"})
            deadline, left = time.monotonic() + FILE_S + limit_bytes / SLOWEST_BYTES_PER_S, limit_bytes
            path = f"{root}/{quote(name) if self._is_web else name}"
            with files.open(path, "rb", **how) as file:
                while left > 0 and (data := file.read(min(left, CHUNK_BYTES))):
                    if time.monotonic() > deadline:
                        raise Unreachable(f"{self._location.url}/{name} comes more slowly than 64 KiB a second")
                    left -= len(data)
                    yield data

    def _opened(self) -> tuple[Any, str]:
        """The file system, with an empty cache, and the root in its form."""
        import fsspec

        options: dict[str, Any] = {"use_listings_cache": False}
        if self._is_web:
            # Compressed, a short reply could become any number of bytes.
            plain = {"auto_decompress": False, "headers": {"Accept-Encoding": "identity"}}
            options["client_kwargs"] = {"timeout": _web_timeout(), **plain}
        files, root = fsspec.core.url_to_fs(self._location.url, **options)
        return files, root.rstrip("/")

    def _by_pages(self) -> Iterator[tuple[str, Listed]]:
        """Walks the pages in which a web server lists its directories."""
        pages, waiting = 0, [("", 0)]
        while waiting:
            directory, depth = waiting.pop()
            pages += 1
            if pages > MOST_PAGES:
                raise Unreachable(f"{self._location.url} has more than {MOST_PAGES} directories below it")
            page = b"".join(self.chunks(directory, PAGE_LIMIT_BYTES + 1))
            if len(page) > PAGE_LIMIT_BYTES:
                raise Unreachable(f"{self._location.url}/{directory} lists more than {PAGE_LIMIT_BYTES} bytes")
            url = f"{self._location.url}/{quote(directory)}"
            for name in names_on(page.decode(errors="replace"), url):
                if not name.endswith("/"):
                    yield directory + name, Listed(None, None)
                elif depth < DEEPEST:
                    waiting.append((directory + name, depth + 1))

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Whatever a package for a storage raises becomes Unreachable: each has errors of its own."""
        try:
            yield
        except (Unreachable, GeneratorExit):
            raise
        except Exception as error:
            raise Unreachable(f"{self._location.url}: {_reason(error)}") from error


def check_installed(location: Location) -> None:
    """Import what the scheme needs.

    Raises:
        ValueError: it is not installed; says how to install it.
    """
    # Otherwise the hub's client asks for, and keeps, a list of tools by which it tells who uses it.
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    for package in ("fsspec", PACKAGES[location.scheme]):
        try:
            importlib.import_module(package)
        except ImportError as error:
            # Not in the lock: it brings twenty packages.
            cure = "pip install gcsfs" if package == "gcsfs" else "pip install -r requirements/remote.txt"
            raise ValueError(
                f"{location.scheme}:// requires packages that are not installed ({package}): {cure}"
            ) from error


def _web_timeout() -> Any:
    import aiohttp

    return aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S, sock_read=READ_S)


def _found(files: Any, root: str) -> Iterator[tuple[str, Listed]]:
    """All files below a directory, by their relative paths."""
    for path, details in files.find(root, detail=True).items():
        if path.startswith(f"{root}/") and details.get("type") == "file":
            said = [str(details[name]) for name in _MARKS if details.get(name) is not None]
            yield path[len(root) + 1 :], Listed(details.get("size"), " ".join(said) or None)


def _reason(error: Exception) -> str:
    """What a package for a storage says, in words."""
    for kind, reason in _IN_WORDS.items():
        if isinstance(error, kind):
            return reason
    said = next((line for line in str(error).splitlines() if line.strip(" ;")), "")
    return f"{type(error).__name__}: {said}" if said else type(error).__name__
