"""Commands of ``python -m app`` in processes that need not import the application again.

``python -m tests.support.forked SOCKET`` imports it once; for each command it forks, and the fork runs the command as
``python -m app`` does: with arguments, environment, working directory, standard streams and an exit code of its own.
The suite starts a thousand such processes, and imports would be half of their processor time. Tests of the start
itself, of what an interpreter reads at its start, and of the command line use ordinary processes.
"""

import array
import atexit
import gc
import json
import os
import runpy
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib import import_module
from io import TextIOWrapper
from pathlib import Path

ROOT = Path(__file__).parents[2]
_LENGTH = struct.Struct("!I")
_STATUS = struct.Struct("!i")
_lock = threading.Lock()
_control: socket.socket | None = None


def can_fork(environment: Mapping[str, str]) -> bool:
    """Whether a process with these further variables may be a fork: none is for the interpreter or a library."""
    return hasattr(os, "pidfd_open") and all(name.startswith("ATELIER_") for name in environment)


class ForkedProcess:
    """``python -m app`` with arguments, as a ``subprocess.Popen`` with ``text=True``.

    Args:
        arguments: of the command.
        env: the whole environment.
        stdout: True: a pipe, ``stdout``; False: that of this process.
        cwd: the working directory.
    """

    def __init__(
        self, arguments: Sequence[object], *, env: Mapping[str, str], stdout: bool = False, cwd: Path = ROOT
    ) -> None:
        self.args = [str(argument) for argument in arguments]
        self.returncode: int | None = None
        self.stdout, out = _pipe() if stdout else (None, os.dup(1))
        self.stderr, err = _pipe()
        self._status, told = os.pipe()
        message = json.dumps({"arguments": self.args, "environment": dict(env), "directory": str(cwd)}).encode()
        descriptors = array.array("i", [out, err, told])
        with _lock:
            control = _zygote()
            control.sendmsg(
                [_LENGTH.pack(len(message)) + message], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, descriptors)]
            )
            (self.pid,) = _STATUS.unpack(_receive(control, _STATUS.size))
        for descriptor in descriptors:
            os.close(descriptor)

    def poll(self) -> int | None:
        """The exit code; None while it runs."""
        return self._ended(0)

    def wait(self, timeout: float | None = None) -> int:
        """The exit code, once it has ended."""
        if self._ended(None if timeout is None else 1e3 * timeout) is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0)
        assert self.returncode is not None
        return self.returncode

    def _ended(self, milliseconds: float | None) -> int | None:
        if self.returncode is None:
            ready = select.poll()
            ready.register(self._status, select.POLLIN | select.POLLHUP)
            if ready.poll(milliseconds):
                (self.returncode,) = _STATUS.unpack(os.read(self._status, _STATUS.size))
                os.close(self._status)
        return self.returncode

    def send_signal(self, sig: int) -> None:
        """Send a signal, unless it has ended."""
        if self.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, sig)

    def terminate(self) -> None:
        """Send SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL."""
        self.send_signal(signal.SIGKILL)

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """All that it writes, once it has ended."""
        assert self.stdout is not None
        texts: dict[str, str] = {}
        readers = [
            threading.Thread(target=lambda name=name, file=file: texts.update({name: file.read()}), daemon=True)
            for name, file in (("out", self.stdout), ("err", self.stderr))
        ]
        for reader in readers:
            reader.start()
        try:
            self.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            raise
        for reader in readers:
            reader.join(timeout)
        self.stdout.close()
        self.stderr.close()
        return texts["out"], texts["err"]


def run_forked(
    arguments: Sequence[object], *, env: Mapping[str, str], timeout: float, cwd: Path = ROOT
) -> subprocess.CompletedProcess[str]:
    """As ``subprocess.run`` with ``capture_output=True`` and ``text=True``."""
    process = ForkedProcess(arguments, env=env, stdout=True, cwd=cwd)
    out, err = process.communicate(timeout)
    return subprocess.CompletedProcess(process.args, process.wait(), out, err)


def _pipe() -> tuple[TextIOWrapper, int]:
    read, write = os.pipe()
    return os.fdopen(read, encoding="utf-8"), write


def _zygote() -> socket.socket:
    """The connection to the process that forks; it ends with this one."""
    global _control
    if _control is None:
        _control, theirs = socket.socketpair()
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.forked", str(theirs.fileno())], cwd=ROOT, pass_fds=[theirs.fileno()]
        )
        theirs.close()
        atexit.register(process.wait)
        atexit.register(_control.close)  # called first
    return _control


def _receive(control: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        part = control.recv(size - len(data))
        if not part:
            raise EOFError
        data += part
    return data


def _import_application() -> None:
    """What a service and the commands import, FastAPI included, but not gRPC, which reads its variables then."""
    for module in (
        "app.api.application",
        "app.cli",
        "app.main",
        "app.wiring.server",
        "uvloop",
    ):
        import_module(module)
    assert threading.active_count() == 1
    gc.freeze()


def _serve(control: socket.socket) -> dict[str, object] | None:
    """Fork for each message. Returns in a fork what it has to run, and None once the connection is closed."""
    poll, running = select.poll(), {}
    poll.register(control, select.POLLIN)
    while True:
        for ready, _ in poll.poll():
            if ready != control.fileno():
                pid, told = running.pop(ready)
                ended = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
                code = ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status
                os.write(told, _STATUS.pack(code))
                os.waitpid(pid, 0)  # the number is free only once its owner knows
                poll.unregister(ready)
                os.close(ready)
                os.close(told)
                continue
            head, ancillary, _, _ = control.recvmsg(_LENGTH.size, socket.CMSG_SPACE(3 * 4))
            if not head:
                return None
            out, err, told = array.array("i", ancillary[0][2][:12])
            message = json.loads(_receive(control, _LENGTH.unpack(head)[0]))
            pid = os.fork()
            if pid == 0:
                os.dup2(out, 1)
                os.dup2(err, 2)
                os.closerange(3, max(out, err, told, control.fileno(), *running, *_told(running)) + 1)
                return message
            os.close(out)
            os.close(err)
            control.sendall(_STATUS.pack(pid))
            watched = os.pidfd_open(pid)
            running[watched] = (pid, told)
            poll.register(watched, select.POLLIN)


def _told(running: Mapping[int, tuple[int, int]]) -> list[int]:
    return [told for _, told in running.values()]


def _main() -> None:
    control = socket.socket(fileno=int(sys.argv[1]))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of a terminal; the tests end it
    _import_application()
    message = _serve(control)
    if message is None:
        return
    control.detach()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.clear()
    os.environ.update(message["environment"])
    os.chdir(message["directory"])
    sys.argv = ["app", *message["arguments"]]
    runpy.run_module("app", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    _main()
