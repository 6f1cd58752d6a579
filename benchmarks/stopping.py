"""What busy clients lose when the service gets SIGTERM and nothing in front of it leads them elsewhere."""

import http.client
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.soak.service import serving

PATH = "/v1/models/fashion-mnist-mlp:predict"
PIXELS = bytes(28 * 28)
HEADERS = {"Content-Type": "application/octet-stream"}
WARM_UP_S = 1.5


@dataclass
class Stop:
    """One stop.

    Attributes:
        answered: requests with 200, of all clients.
        told: clients whose last answer said that it was the last: ``connection: close``.
        lost: clients whose last request was sent over an open connection and not answered.
        refused: clients that came to a closed port.
        failed: requests with another status.
    """

    answered: int = 0
    told: int = 0
    lost: int = 0
    refused: int = 0
    failed: int = 0


def stop_under_load(models: Path, arguments: Sequence[str], *, clients: int) -> Stop:
    """Start a service, let clients send one request after the other over kept connections, and end it.

    Args:
        models: directory of models with fashion-mnist-mlp.
        arguments: further flags of the service.
        clients: their number.
    """
    found, lock = Stop(), threading.Lock()

    def count(what: str) -> None:
        with lock:
            setattr(found, what, getattr(found, what) + 1)

    def ask(address: str) -> None:
        connection = http.client.HTTPConnection(address, timeout=30)
        while True:
            try:
                connection.request("POST", PATH, PIXELS, HEADERS)
                reply = connection.getresponse()
                reply.read()
            except ConnectionRefusedError:
                return count("refused")
            except (OSError, http.client.HTTPException):
                return count("lost")
            count("answered" if reply.status == 200 else "failed")
            if reply.getheader("connection") == "close":
                return count("told")

    with serving(models, *arguments) as service:
        threads = [threading.Thread(target=ask, args=(service.address,)) for _ in range(clients)]
        for thread in threads:
            thread.start()
        time.sleep(WARM_UP_S)
        service.process.terminate()
        for thread in threads:
            thread.join()
    return found
