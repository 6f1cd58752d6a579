"""Numbers of messages as arrays."""

import threading
import time

import numpy as np
import pytest
from tritonclient.grpc import service_pb2 as pb

from app.edge.codec.datatypes import array_from_numbers

COUNT = 8_000_000


@pytest.mark.parametrize("count", [0, 1, 2**16 - 1, 2**16, 2**16 + 1])
def test_all_numbers_arrive_in_order(count):
    values = pb.InferTensorContents(int64_contents=range(count)).int64_contents
    assert np.array_equal(array_from_numbers(values, np.dtype("i8")), np.arange(count))


def test_other_threads_run_while_many_numbers_are_converted():
    values = pb.InferTensorContents(int64_contents=[1] * COUNT).int64_contents
    waits, done = [], threading.Event()

    def watch():
        last = time.perf_counter()
        while not done.is_set():
            time.sleep(0.001)
            now = time.perf_counter()
            waits.append(now - last)
            last = now

    watcher = threading.Thread(target=watch)
    watcher.start()
    while not waits:
        time.sleep(0.001)
    started = time.perf_counter()
    array_from_numbers(values, np.dtype("i8"))
    took = time.perf_counter() - started
    done.set()
    watcher.join()
    assert max(waits) < took / 2
