"""Memory of a version: measured at load, unless something else changes it at the same time."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from app.errors import VersionRefused
from app.lifecycle.loading.device_choice import close_all
from app.lifecycle.loading.memory_need import SESSION_BYTES, MemoryNeed, MemoryNeeds
from app.runtime.memory import allocated_bytes
from tests.training.loading import loader

ROOT = Path(__file__).parents[4]
FILES = SimpleNamespace(digest="a", graph_bytes=100, weights_beside_bytes=0, saved_model_bytes=100)
ESTIMATE = MemoryNeed(2 * 100 + SESSION_BYTES, is_measured=False)
BACKEND = SimpleNamespace(process_bytes=0)


class Heap:
    """Memory that a test allocates."""

    def __init__(self):
        self.size_bytes = 10_000
        self.needs = MemoryNeeds(lambda: self.size_bytes)

    def load(self, grows, *, files=FILES, instances=1, meanwhile=lambda: None):
        with self.needs.load() as this:
            self.size_bytes += grows
            meanwhile()
            return self.needs.need(this, files, "onnx", [BACKEND] * instances)


def test_a_load_is_measured():
    heap = Heap()
    assert heap.load(5_000) == MemoryNeed(5_000)
    assert heap.load(700, instances=2) == MemoryNeed(700)


def test_weights_that_the_runtime_maps_from_a_separate_file_are_added():
    files = SimpleNamespace(digest="b", graph_bytes=900, weights_beside_bytes=800)
    assert Heap().load(300, files=files) == MemoryNeed(1_100)


def test_a_version_takes_at_least_its_files_once_for_each_instance():
    assert Heap().load(-4_000, instances=3) == MemoryNeed(300)


def test_what_else_happens_during_a_load_is_not_attributed_to_it():
    heap = Heap()
    assert heap.load(5_000, meanwhile=heap.needs.disturb) == ESTIMATE
    inner = []
    assert heap.load(5_000, meanwhile=lambda: inner.append(heap.load(1))) == ESTIMATE
    assert inner == [ESTIMATE]
    assert heap.load(5_000) == MemoryNeed(5_000)
    assert heap.load(9_000, meanwhile=heap.needs.disturb) == MemoryNeed(5_000), "as measured before"


def test_a_load_that_fails_disturbs_only_those_that_run_at_the_same_time():
    heap = Heap()
    with pytest.raises(VersionRefused), heap.needs.load():
        raise VersionRefused("golden row 0 differs")
    assert heap.load(5_000) == MemoryNeed(5_000)


def test_without_figures_of_the_c_library_it_is_estimated():
    needs = MemoryNeeds(lambda: None)
    with needs.load() as this:
        assert needs.need(this, FILES, "onnx", [BACKEND]) == ESTIMATE


def test_a_model_in_processes_takes_what_is_resident_there():
    needs = MemoryNeeds(lambda: 0)
    with needs.load() as this:
        backends = [SimpleNamespace(process_bytes=each) for each in (7_000, 8_000)]
        assert needs.need(this, FILES, "savedmodel", backends) == MemoryNeed(15_000)


def test_large_blocks_count_as_allocated_until_they_are_freed():
    before = allocated_bytes()
    if before is None:
        return  # another C library
    block = bytearray(50_000_000)
    assert 49e6 < allocated_bytes() - before < 60e6
    del block
    assert allocated_bytes() - before < 5e6


def test_after_a_load_only_the_memory_of_a_single_row_is_kept_and_that_of_batches_is_in_the_need():
    """Of cats-vs-dogs-cnn: 64 MB are only those of the batches of its golden samples."""
    [version] = (ROOT / "models" / "cats-vs-dogs-cnn").glob("[0-9]*")
    before = allocated_bytes()
    opened = loader(ROOT / "models").open("cats-vs-dogs-cnn", int(version.name))
    kept = allocated_bytes() - before
    close_all(opened.placed)
    assert opened.memory.is_measured
    assert kept < 0.5 * opened.memory.size_bytes
