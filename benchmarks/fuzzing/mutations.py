"""Mutations of valid input: of its bytes, and of the values, keys and nesting of its JSON."""

import re
from random import Random

# A string, a number, a word, or an array without others inside.
_VALUE = re.compile(rb'"(?:[^"\\]|\\.)*"|-?[0-9][0-9.eE+-]*|true|false|null|NaN|-?Infinity|\[[^\[\]]*\]')
_MEMBER = re.compile(rb'"(?:[^"\\]|\\.)*"\s*:\s*(?:"(?:[^"\\]|\\.)*"|-?[0-9][0-9.eE+-]*|\[[^\[\]]*\])')

# JSON values that different readers may interpret differently.
EVIL = (
    *rb"""
    "\ud800" "\udfff\ud800" "a\u0000b" "\u0000" "\uffff" "" "a" 1e400 -1e400 1e-400 NaN -Infinity -0.0 -0 0 1 -1 255 256
    0.5 1E5 3.4e38 1e39 2147483648 4294967296 9223372036854775807 9223372036854775808 -9223372036854775809
    18446744073709551615 18446744073709551616 null true false [] {} [[]] [{}] [[],1] [0,9223372036854775808] [1,4,4]
    {"":1} {"\u0000":1} {"\ud800":1} {"a":1,"a":2} {"b64":""} {"b64":"AAAA"} {"b64":"\ud800"} {"text":"a"}
    {"image":{"b64":"iVBORw0KGgo="}} ["a","b"] [1,2] [[1,2],[3]] [1,"a"] [true,1]
    """.split(),
    *(b"9" * digits for digits in (400, 4_299, 5_000)),
)
TOKENS = (
    *b"""
    \r \\ \\u {  } [ ] < > ' " % & = ; : , -- --seed --seed-- boundary= boundary*=utf-8''%ff filename= %ff %00 1_000
    +1 -1 0x1 Infinity binary_data_size classification BYTES FP16 BOOL INT64 UINT64 signature_name context instances
    inputs shape data b64 IHDR IDAT tRNS PLTE acTL iCCP eXIf II* MM\x00* \xff\xd8 \xff\xda GIF89a RIFF WEBPVP8X BM
    PK\x03\x04 PK\x05\x06 \x00 \xff \xff\xff\xff\xff \x7f\xff\xff\xff \x80\x00\x00\x00 \xd9\xa1 \xed\xa0\x80
    \xcc\x80\xcc\x96 \xe2\x80\x99 \xef\xbb\xbf
    """.split(),
    *(b"\n", b"\r\n", b"Exif\x00\x00", b"boundary=" + b"x" * 300),
)
MOST_BYTES = 20_000


def mutate(data: bytes, random: Random, other: bytes) -> bytes:
    """One to four changes.

    Args:
        data: the input to mutate.
        random: source of the choices.
        other: a piece of it may be inserted.
    """
    for _ in range(random.choice((1, 1, 1, 2, 2, 3, 4))):
        data = random.choice(_CHANGES)(data, random, other)
    return data[:MOST_BYTES]


def _place(data: bytes, random: Random) -> tuple[int, int]:
    """Start and end of a piece."""
    start = random.randrange(len(data) + 1)
    return start, min(len(data), start + random.choice((1, 1, 2, 4, 8, 40)))


def _flip(data: bytes, random: Random, other: bytes) -> bytes:
    if not data:
        return data
    changed = bytearray(data)
    changed[random.randrange(len(data))] ^= 1 << random.randrange(8)
    return bytes(changed)


def _overwrite(data: bytes, random: Random, other: bytes) -> bytes:
    start, end = _place(data, random)
    return data[:start] + random.randbytes(end - start) + data[end:]


def _delete(data: bytes, random: Random, other: bytes) -> bytes:
    start, end = _place(data, random)
    return data[:start] + data[end:]


def _truncate(data: bytes, random: Random, other: bytes) -> bytes:
    return data[: random.randrange(len(data) + 1)]


def _repeat(data: bytes, random: Random, other: bytes) -> bytes:
    start, end = _place(data, random)
    return data[:end] + data[start:end] * random.choice((1, 1, 2, 30)) + data[end:]


def _insert_token(data: bytes, random: Random, other: bytes) -> bytes:
    start, end = _place(data, random)
    return data[:start] + random.choice(TOKENS) + data[random.choice((start, end)) :]


def _splice(data: bytes, random: Random, other: bytes) -> bytes:
    start, end = _place(other, random)
    at = random.randrange(len(data) + 1)
    return data[:at] + other[start : random.choice((end, len(other)))] + data[at:]


def _evil_value(data: bytes, random: Random, other: bytes) -> bytes:
    """Replace a value or a key by another one."""
    found = [match.span() for match in _VALUE.finditer(data)]
    if not found:
        return _insert_token(data, random, other)
    start, end = random.choice(found)
    return data[:start] + random.choice(EVIL) + data[end:]


def _nest(data: bytes, random: Random, other: bytes) -> bytes:
    found = [match.span() for match in _VALUE.finditer(data)]
    if not found:
        return data
    start, end = random.choice(found)
    depth = random.choice((1, 1, 2, 30, 63, 64, 65, 900, 1_100))
    before, after = random.choice(((b"[", b"]"), (b'{"a":', b"}"), (b"[[],", b"]")))
    inside = random.choice((data[start:end], b"NaN"))
    return data[:start] + before * depth + inside + after * depth + data[end:]


def _twice(data: bytes, random: Random, other: bytes) -> bytes:
    """Insert a member, or a harmful one, next to another."""
    found = [match.span() for match in _MEMBER.finditer(data)]
    if not found:
        return _repeat(data, random, other)
    start, end = random.choice(found)
    key = random.choice((data[start:end].partition(b":")[0], b'"\\u0000"', b'""', b'"a\\u0000"'))
    member = random.choice((data[start:end], key + b":" + random.choice(EVIL)))
    return data[:start] + member + b"," + data[start:]


_CHANGES = (
    *(_flip, _overwrite, _delete, _truncate, _repeat, _insert_token, _splice),
    *(_evil_value, _evil_value, _evil_value, _nest, _twice, _twice),
)
