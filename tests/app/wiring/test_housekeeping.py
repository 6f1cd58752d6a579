"""Memory is returned to the system after a version was freed, and when much of it is free, and not otherwise."""

import asyncio
import ctypes
import gc
import subprocess
import sys
import weakref

import pytest

from app.runtime.memory import LargeBlocks, resident_bytes, trimmer
from app.wiring.housekeeping import CYCLES_FROM, TRIM_FROM_BYTES, Housekeeping
from tests.support.fakes import until
from tests.support.service import ROOT


class Node:
    """An object in a reference cycle."""

    def __init__(self):
        self.itself = self


class Process:
    """Counts trims; a test sets its memory."""

    def __init__(self):
        self.trims = 0
        self.resident = 100

    def trim(self):
        self.trims += 1


@pytest.fixture(autouse=True)
def no_collector():
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def run(scenario, process, **options):
    housekeeping = Housekeeping(trim=process.trim, resident_bytes=lambda: process.resident, not_before_s=0, **options)

    async def main():
        task = asyncio.create_task(housekeeping.run())
        await until(lambda: process.trims == 1)  # memory that loading has freed
        await scenario(housekeeping)
        assert not task.done()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(main())


def test_it_ends_when_it_is_cancelled_in_the_turn_in_which_a_version_is_freed():
    async def freed_and_cancelled():
        housekeeping = Housekeeping(trim=lambda: None, resident_bytes=lambda: 100, not_before_s=0)
        task = asyncio.create_task(housekeeping.run())
        await asyncio.sleep(0.05)
        housekeeping.freed()
        await asyncio.sleep(0)  # what waits for it is done, and has not continued
        task.cancel()
        await asyncio.wait([task], timeout=5)
        return task.cancelled()

    assert asyncio.run(freed_and_cancelled())


def test_a_version_that_was_freed_is_cleared_away_with_its_cycles():
    process = Process()

    async def scenario(housekeeping):
        lost = weakref.ref(Node())
        housekeeping.freed()
        housekeeping.freed()  # together with the first
        await until(lambda: process.trims == 2)
        assert lost() is None
        housekeeping.freed()
        await until(lambda: process.trims == 3)

    run(scenario, process, every_s=60)


def test_many_new_objects_are_looked_through():
    process = Process()

    async def scenario(housekeeping):
        lost = weakref.ref(Node())
        kept = [[] for _ in range(CYCLES_FROM)]
        await until(lambda: lost() is None)
        assert len(kept) == CYCLES_FROM
        assert process.trims == 1

    run(scenario, process, every_s=0.01)


def test_collections_that_free_little_become_rarer_until_one_frees_much():
    """Under overload thousands of requests wait, whose objects are not garbage."""
    process, kept, looks = Process(), [], []

    async def scenario(housekeeping):
        for _ in range(30):
            kept.extend([] for _ in range(CYCLES_FROM + 100))
            before = gc.get_stats()[2]["collections"]
            await housekeeping._look()
            looks.append(gc.get_stats()[2]["collections"] - before)
        kept[:] = [Node() for _ in range(CYCLES_FROM)]
        kept.clear()
        for _ in range(8):
            await housekeeping._look()
        assert housekeeping._pause == 0

    run(scenario, process, every_s=60)
    assert [index for index, collected in enumerate(looks) if collected] == [0, 2, 6, 14, 22]


def test_pages_are_given_back_once_memory_has_grown_from_its_least():
    process = Process()

    async def scenario(housekeeping):
        process.resident += TRIM_FROM_BYTES - 1
        await asyncio.sleep(0.05)  # several checks
        assert process.trims == 1
        process.resident = 50
        await asyncio.sleep(0.05)
        process.resident += TRIM_FROM_BYTES
        await until(lambda: process.trims == 2)
        await asyncio.sleep(0.05)  # it stays the same: the memory is in use
        assert process.trims == 2

    run(scenario, process, every_s=0.01)


def test_without_a_supported_allocator_cycles_are_collected_anyway():
    async def main():
        lost = weakref.ref(Node())
        await Housekeeping(trim=None, resident_bytes=lambda: 0).clear_away()
        assert lost() is None

    asyncio.run(main())


def test_the_allocator_of_this_machine_gives_pages_back():
    trim = trimmer()
    if trim is None:
        pytest.skip("the C library has no malloc_trim")
    blocks = [bytes(60_000) + b"x" for _ in range(2_000)]
    blocks = [block.replace(b"\0", b"y", 1) for block in blocks]
    full = resident_bytes()
    keeps = blocks[-1]  # at the end of the heap: without the call all below it would stay
    del blocks
    trim()
    assert full - resident_bytes() > 60 * 2**20
    assert len(keeps) == 60_001


class MallocInfo(ctypes.Structure):
    """``struct mallinfo2``."""

    _fields_ = [(name, ctypes.c_size_t) for name in ("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks")] + [
        (name, ctypes.c_size_t) for name in ("fsmblks", "uordblks", "fordblks", "keepcost")
    ]


def bytes_apart():
    """The number of blocks for which malloc uses separate mappings."""
    ask = ctypes.CDLL(None).mallinfo2
    ask.restype = MallocInfo
    return ask().hblkhd


def check_where_large_blocks_lie():
    """Run in a separate process: free space in the heap of this one would take the blocks."""
    blocks = LargeBlocks()
    before = bytes_apart()
    with blocks.apart():
        with blocks.apart():
            kept = [b"x" * 2**20]
        kept.append(b"x" * 2**20)
    assert bytes_apart() - before >= 2 * 2**20
    apart = bytes_apart()
    kept.append(b"x" * 2**20)
    assert bytes_apart() == apart
    del kept
    assert bytes_apart() <= before


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallinfo2"), reason="the C library is not glibc")
def test_large_blocks_have_separate_mappings_only_during_loads():
    code = f"from {__name__} import check_where_large_blocks_lie as check; check()"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
