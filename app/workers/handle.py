"""One worker process, as the supervisor sees it."""

import asyncio
import signal
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress

from app.workers.channel import Channel, Handler


class Worker:
    """A running worker process and the channel to it; made by ``start_worker``.

    Attributes:
        number: from 1 up; a worker has the number of the one whose place it takes.
        process: the process.
        channel: to it.
        is_connected: it has sent something.
        is_serving: it takes requests.
        is_loaded: it has loaded its models, or takes no requests before it has.
        started_at, heard_at: monotonic seconds.
    """

    def __init__(self, number: int, process: asyncio.subprocess.Process, *, loads_first: bool) -> None:
        self.number = number
        self.process = process
        self.channel = Channel({})
        self.is_connected = False
        self.is_serving = False
        self.is_loaded = loads_first
        self.started_at = self.heard_at = time.monotonic()

    def __str__(self) -> str:
        return f"worker {self.number} (process {self.process.pid})"

    def signal(self, sig: int) -> None:
        """Send a signal, if the process still runs."""
        if self.process.returncode is None:
            with suppress(ProcessLookupError):
                self.process.send_signal(sig)

    def stop(self) -> None:
        """Start to drain; a worker that takes no requests yet ends immediately."""
        self.signal(signal.SIGTERM if self.is_serving else signal.SIGKILL)


async def start_worker(
    number: int, descriptors: Sequence[int], handlers: Mapping[str, Handler], *, loads_first: bool
) -> Worker:
    """Start a process that waits for the message ``start``.

    It is the first of its own group, so that Ctrl-C at a terminal reaches the supervisor alone.

    Args:
        number: of the worker.
        descriptors: of files and sockets that it inherits.
        handlers: what the worker may call.
        loads_first: it will take no requests before its models are loaded.

    Raises:
        OSError: the system starts no process.
    """
    own, other = socket.socketpair()
    try:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "app.workers.process",
            str(other.fileno()),
            stdin=asyncio.subprocess.DEVNULL,
            pass_fds=[other.fileno(), *descriptors],
            process_group=0,
        )
    except BaseException:
        own.close()
        raise
    finally:
        other.close()
    worker = Worker(number, process, loads_first=loads_first)
    worker.channel = Channel(handlers)
    await worker.channel.open(own)
    return worker


def how_it_ended(code: int) -> str:
    """The exit code of a process in words; minus a signal's number if that ended it."""
    return f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
