"""A template of processes that echo: ``python -m tests.support.stub_template [threads]``."""

import os
import sys
import threading

from app.runtime.engines.forking_loop import serve_forks


def main() -> None:
    if sys.argv[1:] == ["threads"]:
        threading.Thread(target=threading.Event().wait, daemon=True).start()
    arguments = serve_forks()
    if arguments is None:
        return
    sys.stderr.write(" ".join(arguments) + "\n")
    if arguments == ["leave"]:
        os._exit(7)
    while data := os.read(0, 100):
        os.write(0, data.upper())
    os._exit(0)


if __name__ == "__main__":
    main()
