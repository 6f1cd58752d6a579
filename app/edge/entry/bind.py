"""Addresses from flags, and sockets that listen on them."""

import asyncio
import errno
import os
import socket
import stat
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from app.errors import CannotListen

BACKLOG = 2048
_UNIX = "unix:"


@dataclass(frozen=True, slots=True)
class Bind:
    """``ADDRESS:PORT`` or ``unix:PATH``.

    Attributes:
        host: address or name; the path of a Unix socket.
        port: None for a Unix socket; 0 picks a free one.
    """

    host: str
    port: int | None
    # Which Unix sockets were created here. An inode may be used again, so the time counts, too.
    _created: list[tuple[int, int, int]] = field(default_factory=list, init=False, repr=False, compare=False)

    @classmethod
    def parse(cls, text: str) -> "Bind":
        """Parse a flag.

        Raises:
            ValueError: wrong form; the message shows the right one.
        """
        if text.startswith(_UNIX):
            path = text.removeprefix(_UNIX)
            if not path.startswith("/"):
                raise ValueError(
                    f"{text!r} is not an address; the path of a Unix socket begins with /, as in unix:/run/a"
                )
            return cls(path, None)
        host, _, port = text.rpartition(":")
        if not host or not port.isascii() or not port.isdecimal() or int(port) > 65_535:
            raise ValueError(f"{text!r} is not an address; write ADDRESS:PORT, as in 127.0.0.1:9000, or unix:/PATH")
        return cls(host.removeprefix("[").removesuffix("]"), int(port))

    async def listen(self) -> list[socket.socket]:
        """Listen; a Unix socket accepts only this user.

        Raises:
            CannotListen: the address is in use, or does not belong to this machine.
        """
        try:
            if self.port is not None:
                return await listen(self.host, self.port)
            listening = _listen_unix(self.host)
            self._created.append(_identity(self.host))
            return [listening]
        except OSError as error:
            raise CannotListen(f"cannot listen on {self} for administrators: {error.strerror or error}") from error

    def close(self) -> None:
        """Remove the Unix socket that was created here, since nothing listens on it any more.

        Another service may have created its own at the same path, after this one had closed.
        """
        if self.port is None:
            with suppress(OSError):
                if _identity(self.host) in self._created:
                    Path(self.host).unlink()

    def __str__(self) -> str:
        if self.port is None:
            return _UNIX + self.host
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


async def listen_for_clients(bind: Bind) -> list[socket.socket]:
    """Listen on the address of the service.

    Args:
        bind: has a port.

    Raises:
        CannotListen: as ``Bind.listen``; says which option to change.
    """
    assert bind.port is not None
    try:
        return await listen(bind.host, bind.port)
    except OSError as error:
        is_taken = error.errno in {errno.EADDRINUSE, errno.EACCES}
        reason = os.strerror(error.errno) if is_taken and error.errno else error.strerror or str(error)
        change = (
            "another port with --port (make serve PORT=9000)" if is_taken else "an address of this machine with --host"
        )
        raise CannotListen(f"cannot listen on {bind}: {reason.lower()}; choose {change}") from error


async def listen(host: str, port: int) -> list[socket.socket]:
    """Listen on every address of ``host``, as the single process does; clients wait to be accepted.

    Args:
        host: address or name.
        port: 0 picks a free one.

    Raises:
        OSError: the address is in use, or does not belong to this machine.
    """
    loop = asyncio.get_running_loop()
    server = await loop.create_server(asyncio.Protocol, host, port, start_serving=False)
    sockets = [socket.socket(fileno=os.dup(each.fileno())) for each in server.sockets]
    server.close()
    for each in sockets:
        each.listen(BACKLOG)
    return sockets


def _identity(path: str) -> tuple[int, int, int]:
    status = os.lstat(path)
    return status.st_dev, status.st_ino, status.st_ctime_ns


def _listen_unix(path: str) -> socket.socket:
    listening = socket.socket(socket.AF_UNIX)
    try:
        if _is_left_behind(path):
            os.unlink(path)
        listening.bind(path)
        os.chmod(path, 0o600)  # clients cannot connect before it listens
        listening.listen(BACKLOG)
    except BaseException:
        listening.close()
        raise
    return listening


def _is_left_behind(path: str) -> bool:
    """Whether the path is a socket on which no process listens: the process was killed."""
    try:
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            return False
        with socket.socket(socket.AF_UNIX) as probe:
            probe.connect(path)
    except FileNotFoundError:
        return False
    except ConnectionRefusedError:
        return True
    return False
