"""Processes of models as forks of one that has imported their library, which takes seconds and hundreds of megabytes.

``forking_loop`` is the inside of that process.
"""

import json
import math
import os
import select
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import IO, Protocol

from app.runtime.engines.forking_loop import FAILED, NUMBER, READY, receive
from app.runtime.engines.worker_loop import LIFELINE

_START_TIMEOUT_S = 120.0
_FORK_TIMEOUT_S = 5.0
IDLE_S = 60.0
"""A template without forks ends after so many seconds: it keeps the memory of its library."""
RETRY_S = 600.0
"""Seconds until a template that could not fork is tried again: its machine may have been short of memory."""
_TOLD_TIMEOUT_S = 1.0
_UNKNOWN_CODE = 255


class Launched(Protocol):
    """A process that was started, as ``subprocess.Popen``."""

    pid: int
    stderr: IO[bytes] | None

    def poll(self) -> int | None:
        """The exit code, negative for a signal; None while it runs."""

    def wait(self, timeout: float | None = None) -> int:
        """The exit code, once it has ended. Raises subprocess.TimeoutExpired."""

    def kill(self) -> None:
        """Kill it, if it runs."""


class Fork:
    """A process that a template has started; see ``Launched``. Its parent is the template.

    Args:
        pid: its number.
        process: its pidfd, from the template: the number may belong to another process by now.
        stderr: what it writes there can be read here.
        status: where the template writes its exit code.
        ended: is called when its end is noticed.
    """

    def __init__(self, pid: int, process: int, *, stderr: int, status: int, ended: Callable[[], None]) -> None:
        self.pid = pid
        self.stderr: IO[bytes] | None = os.fdopen(stderr, "rb")
        self._process, self._status, self._when_ended = process, status, ended
        self._code: int | None = None
        self._lock = threading.Lock()

    def poll(self) -> int | None:
        """See ``Launched``."""
        return self._ended(0)

    def wait(self, timeout: float | None = None) -> int:
        """See ``Launched``."""
        code = self._ended(timeout)
        if code is None:
            raise subprocess.TimeoutExpired(str(self.pid), timeout or 0)
        return code

    def kill(self) -> None:
        """See ``Launched``. The number may belong to another process once it has ended, the descriptor never does."""
        with self._lock:
            if self._code is None:
                with suppress(ProcessLookupError):
                    signal.pidfd_send_signal(self._process, signal.SIGKILL)

    def _ended(self, timeout_s: float | None) -> int | None:
        ready = select.poll()
        if self._code is None:
            ready.register(self._process, select.POLLIN)
            ready.poll(None if timeout_s is None else 1e3 * timeout_s)
        with self._lock:
            if self._code is None and (timeout_s is None or _is_readable(self._process)):
                self._code = self._exit_code()
                os.close(self._status)
                os.close(self._process)
                self._when_ended()
            return self._code

    def _exit_code(self) -> int:
        """As the template tells it; as the kernel does if the template has ended and this process is its heir, PID 1.

        A template that is stopped does not tell it.
        """
        if _is_readable(self._status, _TOLD_TIMEOUT_S) and (told := os.read(self._status, NUMBER)):
            return int.from_bytes(told, "big", signed=True)
        with suppress(ChildProcessError):
            if found := os.waitid(os.P_PIDFD, self._process, os.WEXITED | os.WNOHANG):
                return found.si_status if found.si_code == os.CLD_EXITED else -found.si_status
        return _UNKNOWN_CODE


def _is_readable(descriptor: int, timeout_s: float = 0) -> bool:
    """Whether a read would not wait, after so many seconds at most."""
    ready = select.poll()
    ready.register(descriptor, select.POLLIN)
    return bool(ready.poll(1e3 * timeout_s))


class ProcessTemplate:
    """Starts processes of one kind, as forks of a process that starts with the first of them.

    Args:
        command: of the process, which calls ``serve_forks``.
        idle_s: see ``IDLE_S``.
        retry_s: see ``RETRY_S``.
    """

    def __init__(self, command: Sequence[str], *, idle_s: float = IDLE_S, retry_s: float = RETRY_S) -> None:
        self._command, self._idle_s, self._retry_s = command, idle_s, retry_s
        self._forks = 0
        self._tried_from = 0.0 if hasattr(os, "pidfd_open") else math.inf  # monotonic seconds
        self._lock = threading.Lock()
        self._owner = 0
        self._control: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._lifeline = -1
        self._timer: threading.Timer | None = None

    def fork(self, arguments: Sequence[str], channel: int, lifeline: int, environment: dict[str, str]) -> Fork | None:
        """Start a process, or None if that is not possible: start a new interpreter then, with a channel of its own.

        A template that answers late, or ends before it answers, may have given this channel to a fork.

        Args:
            arguments: what follows the module in ``sys.argv``.
            channel: its standard input.
            lifeline: see ``worker_loop``.
            environment: of the template, if this starts it.
        """
        if time.monotonic() < self._tried_from:
            return None
        error, their_error = os.pipe()
        status, their_status = os.pipe()
        try:
            with self._lock:
                pid, process = self._ask(arguments, [channel, their_error, their_status, lifeline], environment)
                self._forks += 1
                if self._timer is not None:
                    self._timer.cancel()
            return Fork(pid, process, stderr=error, status=status, ended=self._when_ended)
        except (OSError, EOFError):
            os.close(error)
            os.close(status)
            return None
        finally:
            os.close(their_error)
            os.close(their_status)

    def _ask(self, arguments: Sequence[str], descriptors: list[int], environment: dict[str, str]) -> tuple[int, int]:
        """The number and the pidfd of the new process; OSError or EOFError if there is none."""
        if self._owner != os.getpid():  # not that of a process that this one is a fork of
            self._owner, self._control, self._process, self._forks = os.getpid(), None, None, 0
        message = json.dumps(list(arguments)).encode()
        try:
            if self._control is None:
                self._start(environment)
            assert self._control is not None
            socket.send_fds(self._control, [len(message).to_bytes(NUMBER, "big") + message], descriptors)
            answer, process, _, _ = socket.recv_fds(self._control, NUMBER, 1, socket.MSG_CMSG_CLOEXEC)
            pid = int.from_bytes(answer, "big", signed=True) if answer else 0
            if pid != FAILED and not process:
                raise EOFError
        except (OSError, EOFError):
            if self._control is not None:
                self._end()
            raise
        if pid == FAILED:
            self._end()
            self._tried_from = time.monotonic() + self._retry_s
            raise OSError("the template has threads, or cannot fork")
        return pid, process[0]

    def _start(self, environment: dict[str, str]) -> None:
        control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        their_lifeline, self._lifeline = os.pipe()
        try:
            with theirs:
                self._process = subprocess.Popen(
                    self._command,
                    stdin=theirs.fileno(),
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    # Threads of BLAS would not be in the forks; the libraries that run models have their own.
                    env={**environment, "OPENBLAS_NUM_THREADS": "1", LIFELINE: str(their_lifeline)},
                    pass_fds=(their_lifeline,),
                    start_new_session=True,
                )
        except BaseException:
            control.close()
            os.close(self._lifeline)
            raise
        finally:
            os.close(their_lifeline)
        self._control = control
        control.settimeout(_START_TIMEOUT_S)
        receive(control, len(READY))
        control.settimeout(_FORK_TIMEOUT_S)

    def _when_ended(self) -> None:
        with self._lock:
            self._forks -= 1
            if not self._forks:
                self._timer = threading.Timer(self._idle_s, self._end_if_idle)
                self._timer.daemon = True
                self._timer.start()

    def _end_if_idle(self) -> None:
        with self._lock:
            if self._control is not None and not self._forks:
                self._end()

    def _end(self) -> None:
        assert self._control is not None
        assert self._process is not None
        self._control.close()
        self._control = None
        self._process.kill()
        self._process.wait()
        os.close(self._lifeline)
