"""What a call costs."""

import time


def least_seconds(call, *, runs):
    """The least processor time of this thread in so many runs: other work on the machine only adds to it."""
    best = float("inf")
    for _ in range(runs):
        began = time.thread_time()
        call()
        best = min(best, time.thread_time() - began)
    return best
