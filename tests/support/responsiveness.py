"""The longest time that a service leaves a health check unanswered."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import httpx

# A bound for a busy machine whose cores the clients share; the attacks took 5 to 60 s when they were found.
MOST_SILENCE_S = 3.0


@contextmanager
def longest_silence(service):
    """Poll the health check; yields a list whose only element is, at the end, the longest wait for an answer."""
    waits, over = [0.0], threading.Event()

    def ask():
        with httpx.Client(base_url=service.url, timeout=60) as client:
            while not over.is_set():
                started = time.monotonic()
                assert client.get("/v2/health/live").status_code == 200
                waits[0] = max(waits[0], time.monotonic() - started)
                over.wait(0.005)

    with ThreadPoolExecutor(1) as pool:
        asking = pool.submit(ask)
        try:
            yield waits
        finally:
            over.set()
            asking.result()
