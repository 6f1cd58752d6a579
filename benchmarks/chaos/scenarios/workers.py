"""Workers that are killed or stopped."""

import os
import signal
import time

from benchmarks.chaos.target import HEALTH, MOST_SILENCE_S, Found, Scenario, Target


def kill_workers(target: Target) -> Found:
    """kill -9 of one worker after the other, five times."""
    faults, back = [], []
    for _ in range(5):
        workers = target.workers()
        os.kill(workers[0], signal.SIGKILL)
        began = time.perf_counter()
        while len(set(target.workers()) - {workers[0]}) < len(workers) and time.perf_counter() < began + 30:
            time.sleep(0.02)
        back.append(time.perf_counter() - began)
        if back[-1] >= 30:
            faults.append("a worker was not replaced within 30 s")
        time.sleep(3)  # until it accepts connections
        target.health_s()
    return Found(f"replaced within {max(back):.1f} s, 5 of 5", faults)


def stop_worker(target: Target) -> Found:
    """SIGSTOP of one of two workers for four seconds; new connections go to the other worker or wait."""
    stopped = target.workers()[0]
    os.kill(stopped, signal.SIGSTOP)
    answered = waited = 0
    ends_at = time.perf_counter() + 4
    while time.perf_counter() < ends_at:
        with target.connect() as line:
            line.settimeout(0.3)
            line.sendall(f"GET {HEALTH} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
            try:
                answered += line.recv(12) == b"HTTP/1.1 200"
            except TimeoutError:
                waited += 1
    os.kill(stopped, signal.SIGCONT)
    time.sleep(1)
    after = target.longest_wait_s(2)
    faults = [] if answered else ["the other worker answered nothing"]
    if after > MOST_SILENCE_S:
        faults.append(f"health took {after * 1e3:.0f} ms afterwards")
    return Found(f"{answered} probes answered, {waited} waited; afterwards {after * 1e3:.0f} ms at most", faults)


KILL_WORKERS = Scenario(
    "kill -9 of workers",
    "replaced; only requests on the killed worker are lost",
    kill_workers,
    ("--workers", "2"),
    may_lose=40,
)
STOP_WORKER = Scenario(
    "SIGSTOP of a worker",
    "the other answers; no request is refused because of the stop",
    stop_worker,
    ("--workers", "2"),
)
