"""Regions are read and written within their bounds, even if the memory is resized or removed."""

import os
import threading

import pytest

from app.edge.shared_memory import regions as module
from app.edge.shared_memory.parts import Part
from app.edge.shared_memory.regions import Closed, Regions
from app.errors import Forbidden, InvalidInput, NotFound, TooLarge

CONTENT = bytes(range(100))


@pytest.fixture
def place(tmp_path):
    (tmp_path / "input").write_bytes(CONTENT)
    return tmp_path


@pytest.fixture
def regions(place):
    regions = Regions(limit_bytes=80, place=place)
    regions.register("whole", "/input", 100)
    regions.register("part", "input", 50, 10)
    return regions


def test_a_part_is_read_from_its_place(regions):
    assert regions.read(Part("whole", 5, 3)) == CONTENT[3:8]
    assert regions.read(Part("part", 5, 3)) == CONTENT[13:18]
    assert regions.read(Part("part", 0, 0)) == b""


def test_an_output_is_written_to_its_place_and_nowhere_else(regions, place):
    regions.write(Part("part", 10, 2), b"abc")
    assert (place / "input").read_bytes() == CONTENT[:12] + b"abc" + CONTENT[15:]


def test_the_regions_are_listed_by_name(regions):
    assert regions.status(None) == [
        {"name": "part", "key": "input", "offset": 10, "byte_size": 50},
        {"name": "whole", "key": "/input", "offset": 0, "byte_size": 100},
    ]
    assert regions.status("whole") == [{"name": "whole", "key": "/input", "offset": 0, "byte_size": 100}]


@pytest.mark.parametrize(
    ("key", "size", "offset", "error"),
    [
        ("/absent", 1, 0, "Unable to open shared memory region: '/absent': No such file"),
        ("/../secret", 1, 0, "'key' is '/../secret'; send the name"),
        ("..", 1, 0, "'key' is '..'; send the name"),
        ("", 1, 0, "'key' is ''; send the name"),
        ("a\0b", 1, 0, "send the name"),
        (None, 1, 0, "'key' is None; send the name"),
        ("input", 101, 0, "has 100 bytes; a region of 101 bytes from byte 0 does not fit"),
        ("input", 1, 100, "a region of 1 bytes from byte 100 does not fit"),
        ("input", 0, 0, "'byte_size' is 0; send the bytes of the region"),
        ("input", -1, 0, "'byte_size' is -1; send a whole number"),
        ("input", 2**63, 0, "'byte_size' is 9223372036854775808; send a whole number"),
        ("input", True, 0, "'byte_size' is True; send a whole number"),
        ("input", "1", 0, "'byte_size' is '1'; send a whole number"),
        ("input", 1, -1, "'offset' is -1; send a whole number"),
        ("pipe", 1, 0, "Unable to open shared memory region: 'pipe' is not shared memory"),
        ("directory", 1, 0, "Unable to open shared memory region: 'directory': Is a directory"),
        ("link", 1, 0, "Unable to open shared memory region: 'link': Too many levels of symbolic links"),
    ],
)
def test_a_name_without_a_region_is_refused(regions, place, key, size, offset, error):
    os.mkfifo(place / "pipe")
    (place / "directory").mkdir()
    (place / "link").symlink_to(place / "input")
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(InvalidInput) as caught:
        regions.register("new", key, size, offset)
    assert error in caught.value.message
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_name_is_registered_once(regions):
    with pytest.raises(InvalidInput, match="'whole' already in manager"):
        regions.register("whole", "input", 1)
    regions.unregister("whole")
    regions.register("whole", "input", 1)


@pytest.mark.parametrize(
    ("part", "kind", "error"),
    [
        (Part("absent", 1, 0), NotFound, "Unable to find shared memory region: 'absent'"),
        (Part("part", 51, 0), InvalidInput, "'part' has 50 bytes; 51 bytes from byte 0 are not within it"),
        (Part("part", 1, 50), InvalidInput, "1 bytes from byte 50 are not within it"),
        (Part("whole", 81, 0), TooLarge, "at most 80 are accepted for a tensor"),
    ],
)
def test_a_part_outside_of_its_region_is_neither_read_nor_written(regions, place, part, kind, error):
    for use in (regions.check, regions.read, lambda part: regions.write(part, b"x")):
        with pytest.raises(kind) as caught:
            use(part)
        assert error in caught.value.message
    assert (place / "input").read_bytes() == CONTENT


def test_an_output_that_does_not_fit_is_not_written(regions, place):
    with pytest.raises(InvalidInput, match="an output has 4 bytes, and 3 are set aside for it"):
        regions.write(Part("whole", 3, 0), b"1234")
    assert (place / "input").read_bytes() == CONTENT


def test_memory_that_is_shortened_ends_the_request_and_not_the_service(regions, place):
    os.truncate(place / "input", 5)
    for use in (regions.read, lambda part: regions.write(part, b"12345678")):
        with pytest.raises(InvalidInput, match="'whole' is shorter than it was when it was registered"):
            use(Part("whole", 8, 0))
    assert (place / "input").stat().st_size == 5


def test_a_region_is_not_closed_while_a_thread_reads_it(regions, monkeypatch):
    """Its descriptor may be that of another file a moment later."""
    reading, may_go_on = threading.Event(), threading.Event()
    whole_read = os.pread

    def slow(*arguments):
        reading.set()
        may_go_on.wait(10)
        return whole_read(*arguments)

    monkeypatch.setattr(module.os, "pread", slow)
    found = []
    reader = threading.Thread(target=lambda: found.append(regions.read(Part("whole", 5, 0))))
    reader.start()
    assert reading.wait(10)
    closer = threading.Thread(target=regions.unregister, args=("whole",))
    closer.start()
    may_go_on.set()
    reader.join(10)
    closer.join(10)
    assert found == [CONTENT[:5]]
    with pytest.raises(NotFound):
        regions.read(Part("whole", 5, 0))


def test_there_is_a_limit_to_the_number_of_regions(place, monkeypatch):
    monkeypatch.setattr(module, "MOST_REGIONS", 2)
    regions = Regions(limit_bytes=80, place=place)
    for name in ("a", "b"):
        regions.register(name, "input", 1)
    with pytest.raises(TooLarge, match="2 shared memory regions are registered"):
        regions.register("c", "input", 1)
    regions.unregister(None)
    assert regions.status(None) == []


def test_closed_regions_report_the_reason():
    with pytest.raises(Forbidden, match="region 'x' is not available: too far"):
        Closed("too far").read(Part("x", 1, 0))
