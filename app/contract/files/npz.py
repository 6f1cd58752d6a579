"""Reads .npz archives that others wrote: no array is allocated before its size is known and added up.

NumPy's own reader trusts the file: it inflates each member without a limit and allocates the shape of its header. This
module first reads the directory of the archive and adds up the declared sizes. It inflates each member no further than
declared, and an array is a view of its bytes.
"""

import io
import struct
import zipfile
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

MOST_MEMBERS = 1024
# Kinds of elements.
NUMBERS = "biuf"
STRINGS = "SU"
_DIRECTORY_LIMIT_BYTES = 2**20
# End of central directory: signature, disk numbers, entries on this disk and in all, bytes and offset of the directory,
# length of the comment. Source: PKWARE, APPNOTE.TXT, section 4.3.16.
_END = struct.Struct("<4s4H2LH")
_END_SIGNATURE = b"PK\x05\x06"
_LOCATOR_SIGNATURE, _LOCATOR_BYTES = b"PK\x06\x07", 20
_ENCRYPTED = 1


class BadArchive(Exception):
    """The archive breaks a rule; the message names it."""


def read_npz(data: bytes, *, limit_bytes: int, kinds: str = NUMBERS) -> dict[str, Array]:
    """The arrays of an archive, without their ".npy", read-only.

    Args:
        data: bytes of the file.
        limit_bytes: most bytes of all arrays together with their headers.
        kinds: the kinds of elements that are read, as in ``numpy.dtype.kind``; never objects.

    Raises:
        BadArchive: damaged, larger than ``limit_bytes`` once inflated, more than 1024 members, or a member that is not
            an array of these elements.
    """
    _check_directory(data)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = archive.infolist()
            declared = sum(member.file_size for member in members)
            if declared > limit_bytes:
                raise BadArchive(f"its arrays have {declared} bytes; at most {limit_bytes} bytes are read")
            return {member.filename.removesuffix(".npy"): _array(archive, member, kinds) for member in members}
    except BadArchive:
        raise
    except Exception as error:  # zip and zlib, and NumPy, which has Python parse the headers, raise almost anything
        raise BadArchive(str(error) or type(error).__name__) from error


def _check_directory(data: bytes) -> None:
    """Refuse a directory that is too large, before the library reads it."""
    if len(data) < _END.size:
        raise BadArchive(f"{len(data)} bytes are not a zip archive")
    signature, _, _, _, entries, size, _, comment = _END.unpack_from(data, len(data) - _END.size)
    locator_at = len(data) - _END.size - _LOCATOR_BYTES
    is_large = locator_at >= 0 and data[locator_at:].startswith(_LOCATOR_SIGNATURE)
    if signature != _END_SIGNATURE or comment or is_large:
        raise BadArchive("it does not end like a zip archive without a comment and without a 64-bit directory")
    if entries > MOST_MEMBERS or size > _DIRECTORY_LIMIT_BYTES:
        raise BadArchive(f"it has {entries} members in a directory of {size} bytes; at most {MOST_MEMBERS} are read")


def _array(archive: zipfile.ZipFile, member: zipfile.ZipInfo, kinds: str) -> Array:
    if member.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED} or member.flag_bits & _ENCRYPTED:
        raise BadArchive(f"member {member.filename!r} is neither stored nor deflated")
    with archive.open(member) as file:
        content = file.read(member.file_size)
        if len(content) != member.file_size or file.read(1):
            raise BadArchive(f"member {member.filename!r} differs from its declared size")
    header = io.BytesIO(content)
    version = np.lib.format.read_magic(header)
    if version != (1, 0):
        raise BadArchive(f"member {member.filename!r} is an array of format {version}")
    shape, is_fortran, dtype = np.lib.format.read_array_header_1_0(header)
    if dtype.hasobject or dtype.kind not in kinds:
        what = "numbers" if kinds == NUMBERS else "numbers and strings of a fixed length"
        raise BadArchive(f"member {member.filename!r} holds {dtype}, and only {what} are read")
    start = header.tell()
    if min(shape, default=1) < 0 or prod(shape) * dtype.itemsize != len(content) - start:
        raise BadArchive(f"member {member.filename!r} has {len(content) - start} bytes for shape {shape} of {dtype}")
    values: Array = np.frombuffer(content, dtype, offset=start)
    return values.reshape(shape, order="F" if is_fortran else "C")
