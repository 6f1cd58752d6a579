"""The inside of a process whose forks run models: it imports their library, then forks for each message.

Standard input is a stream socket. A message is its length, the arguments of the fork as JSON, and four descriptors: its
standard input, its error stream, where its exit code is written, and its lifeline. The answer is its number, with its
pidfd.
"""

import gc
import json
import os
import select
import signal
import socket
from contextlib import suppress
from pathlib import Path

from app.runtime.engines.worker_loop import LIFELINE, end_with_the_service

NUMBER = 4
"""Bytes of a length, a number of a process, an exit code: signed where it may be negative, the highest first."""
FAILED = -1
"""Answer if there is no fork."""
READY = b"+"
"""What is sent first."""


def serve_forks() -> list[str] | None:
    """Fork for each message.

    Returns:
        In a fork its arguments: standard input, error stream and lifeline are its own. In the process itself None, once
        the service has ended.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # the service ends it
    end_with_the_service()
    control = socket.socket(fileno=os.dup(0))
    gc.collect()
    gc.freeze()
    poll, running = select.poll(), dict[int, tuple[int, int]]()
    poll.register(control, select.POLLIN)
    control.sendall(READY)
    while True:
        for ready, _ in poll.poll():
            if ready != control.fileno():
                poll.unregister(ready)
                _tell(*running.pop(ready))
                os.close(ready)
                continue
            head, descriptors, _, _ = socket.recv_fds(control, NUMBER, 4)
            if not head:
                return None
            channel, error, status, lifeline = descriptors
            arguments: list[str] = json.loads(receive(control, int.from_bytes(head, "big")))
            pid = _fork()
            if pid == 0:
                _become(channel, error, lifeline)
                for descriptor in (control.detach(), status, *running, *(told for _, told in running.values())):
                    os.close(descriptor)
                return arguments
            for descriptor in (channel, error, lifeline):
                os.close(descriptor)
            answer = pid.to_bytes(NUMBER, "big", signed=True)
            if pid == FAILED:
                os.close(status)
                control.sendall(answer)
            else:
                watched = os.pidfd_open(pid)
                running[watched] = (pid, status)
                poll.register(watched, select.POLLIN)
                socket.send_fds(control, [answer], [watched])


def receive(channel: socket.socket, size: int) -> bytes:
    """So many bytes; EOFError if the other end closes before."""
    data = b""
    while len(data) < size:
        part = channel.recv(size - len(data))
        if not part:
            raise EOFError
        data += part
    return data


def _fork() -> int:
    """As ``os.fork``, or ``FAILED``: a thread that holds a lock would not be in the fork to release it.

    A kernel, or a filter of system calls, may lack the pidfds that Python has.
    """
    try:
        os.close(os.pidfd_open(os.getpid()))
        alone = len(list(Path("/proc/self/task").iterdir())) == 1
        return os.fork() if alone else FAILED
    except OSError:
        return FAILED


def _become(channel: int, error: int, lifeline: int) -> None:
    """Take standard input, error stream and lifeline, in a session of its own, as a new interpreter has them."""
    os.dup2(channel, 0)
    os.dup2(error, 2)
    os.close(channel)
    os.close(error)
    os.environ[LIFELINE] = str(lifeline)
    os.setsid()


def _tell(pid: int, status: int) -> None:
    """Write the exit code of a process that has ended, negative for a signal."""
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    with suppress(OSError):
        os.write(status, code.to_bytes(NUMBER, "big", signed=True))
    os.close(status)
