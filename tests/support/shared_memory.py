"""System shared memory of a client."""

from contextlib import contextmanager
from multiprocessing.shared_memory import SharedMemory


@contextmanager
def shared(size):
    memory = SharedMemory(create=True, size=size)
    try:
        yield memory
    finally:
        memory.close()
        memory.unlink()
