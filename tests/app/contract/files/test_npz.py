"""Archives whose headers declare a wrong size are refused without allocating it, and no pickle in them is loaded."""

import io
import struct
import tracemalloc
import zipfile

import numpy as np
import pytest

from app.contract.files.npz import MOST_MEMBERS, BadArchive, read_npz

LIMIT = 4 * 2**20


def archive(**members):
    """A zip archive with these members."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return buffer.getvalue()


def array(values=None, *, shape=None, descr=None):
    """The bytes of a .npy, whose header may state another shape or type."""
    values = np.zeros(4, np.uint8) if values is None else values
    buffer = io.BytesIO()
    header = np.lib.format.header_data_from_array_1_0(values)
    header |= {key: value for key, value in (("shape", shape), ("descr", descr)) if value is not None}
    np.lib.format.write_array_header_1_0(buffer, header)
    return buffer.getvalue() + values.tobytes()


def test_archives_of_numpy_are_read():
    written = {
        "rows": np.arange(12, dtype=np.float32).reshape(3, 4),
        "columns": np.asfortranarray(np.arange(6, dtype=np.int32).reshape(2, 3)),
        "one": np.uint8(7),
    }
    for save in (np.savez, np.savez_compressed):
        buffer = io.BytesIO()
        save(buffer, **written)
        found = read_npz(buffer.getvalue(), limit_bytes=LIMIT)
        assert found.keys() == written.keys()
        for name, values in written.items():
            np.testing.assert_array_equal(found[name], values)
            assert found[name].dtype == values.dtype


def lying(data, size):
    """The archive with another inflated size in its directory and local header."""
    data = bytearray(data)
    struct.pack_into("<I", data, data.index(b"PK\x01\x02") + 24, size)
    struct.pack_into("<I", data, data.index(b"PK\x03\x04") + 22, size)
    return bytes(data)


BIG = archive(a=array(np.zeros(32 * 2**20, np.uint8)))
BAD = {
    "inflates to too much": (BIG, "at most 4194304 bytes are read"),
    "inflates to more than it declares": (lying(BIG, 100), "CRC|differs from its declared size"),
    "inflates to less than it declares": (lying(archive(a=array()), 2**20), "differs from its declared size"),
    "states a huge shape": (archive(a=array(shape=(10**12,))), r"4 bytes for shape \(1000000000000,\)"),
    "states a shape that overflows": (archive(a=array(shape=(2**40, 2**40))), "bytes for shape"),
    "states a negative size": (archive(a=array(shape=(-2, -2))), "bytes for shape"),
    "holds objects": (archive(a=array(descr="|O")), "only numbers are read"),
    "holds text": (archive(a=array(descr="|S4")), "only numbers are read"),
    "has too many members": (archive(**{str(i): b"" for i in range(MOST_MEMBERS + 1)}), "at most 1024 are read"),
    "has a header that is a program": (archive(a=b"\x93NUMPY\x01\x00\x0a\x00__import__"), "malformed node"),
    "is empty": (b"", "0 bytes are not a zip archive"),
    "is cut": (BIG[:-1], "does not end like a zip archive"),
    "has a comment": (BIG[:-2] + b"\x05\x00hello", "does not end like a zip archive"),
}


@pytest.mark.parametrize("how", BAD)
def test_an_archive_is_refused_that(how):
    data, message = BAD[how]
    tracemalloc.start()
    try:
        with pytest.raises(BadArchive, match=message):
            read_npz(data, limit_bytes=LIMIT)
        assert tracemalloc.get_traced_memory()[1] < LIMIT + len(data)
    finally:
        tracemalloc.stop()


def test_a_zip64_directory_is_refused_without_reading_it():
    data = archive(a=array())
    end = data[-22:]
    locator = struct.pack("<4sLQL", b"PK\x06\x07", 0, 0, 1)
    with pytest.raises(BadArchive, match="64-bit directory"):
        read_npz(data[:-22] + locator + end, limit_bytes=LIMIT)


HEADERS = {
    "a list as a key": b"{[]: 1}",
    "brackets that stay open": b"(" * 5000,
    "a text that stays open": b"'''",
    "a truth value as a size": b"{'descr': '<i8', 'fortran_order': False, 'shape': (True,)}",
    "keys of two types": b"{1: 2, 'a': 3}",
    "no element type": b"{'descr': (), 'fortran_order': False, 'shape': (1,)}",
    "more signs than Python parses": b"-" * 9000 + b"1",
}


@pytest.mark.parametrize("header", HEADERS.values(), ids=HEADERS.keys())
def test_a_header_that_numpy_fails_to_read_is_a_bad_archive(header):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        prefix = np.lib.format.magic(1, 0) + struct.pack("<H", len(header) + 1)
        archive.writestr("x.npy", prefix + header + b"\n" + bytes(8))
    with pytest.raises(BadArchive):
        read_npz(buffer.getvalue(), limit_bytes=2**20)
