"""A template of processes that echo: ``python -m tests.support.stub_template [FAULT [FILE]]``.

Faults: it has a thread (``threads``), while the file exists if one is named; the kernel has no pidfds (``no-pidfds``);
it answers when the fork has ended (``late``); it ends without an answer when it has forked, and the fork writes at once
(``ends``).
"""

import os
import sys
import threading
import time
from contextlib import suppress

from app.runtime.engines.forking_loop import serve_forks


def main() -> None:
    if sys.argv[1:2] == ["threads"]:
        if all(map(os.path.exists, sys.argv[2:])):
            threading.Thread(target=threading.Event().wait, daemon=True).start()
    elif sys.argv[1:]:
        {"no-pidfds": without_pidfds, "late": answer_late, "ends": end_unanswered}[sys.argv[1]]()
    arguments = serve_forks()
    if arguments is None:
        return
    sys.stderr.write(" ".join(arguments) + "\n")
    if arguments == ["leave"]:
        os._exit(7)
    if sys.argv[1:] == ["ends"]:
        with suppress(OSError):
            os.write(0, b"a frame that no one has asked for")
    while data := os.read(0, 100):
        os.write(0, data.upper())
    os._exit(0)


def without_pidfds() -> None:
    def refuse(pid: int) -> int:
        raise PermissionError

    os.pidfd_open = refuse


def answer_late() -> None:
    made = os.pidfd_open

    def once_ended(pid: int) -> int:
        process = made(pid)
        if pid != os.getpid():
            os.waitid(os.P_PIDFD, process, os.WEXITED | os.WNOWAIT)
        return process

    os.pidfd_open = once_ended


def end_unanswered() -> None:
    made = os.fork

    def and_end() -> int:
        if pid := made():
            while os.getsid(pid) != pid:
                time.sleep(0.01)
            os._exit(0)
        return pid

    os.fork = and_end


if __name__ == "__main__":
    main()
