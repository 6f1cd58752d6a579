"""Content-Encoding of requests and replies: gzip and deflate."""

import zlib
from dataclasses import replace

from app.edge.respond import Reply
from app.errors import InvalidInput, TooLarge, Unsupported

_WINDOW_BITS = {"gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}
ENCODINGS = tuple(_WINDOW_BITS)
_FASTEST = 1
# A gzip file is one or several members in sequence (RFC 1952, section 2.2); bgzip writes one for each 64 KiB.
MOST_MEMBERS = 4_096
# An inflater costs some microseconds, so more of them than this do not run on the event loop.
FIRST_MEMBERS = 8
# At the end of a member the inflater copies the remaining input, so it gets only a part of it.
_PART_BYTES = 65_536


def inflate(body: bytes, encoding: str, *, limit_bytes: int, first_bytes: int | None = None) -> bytes | None:
    """Undo ``Content-Encoding``.

    Args:
        body: as received.
        encoding: "gzip", "deflate", "identity" or empty.
        limit_bytes: most bytes after inflating; a compression bomb is stopped there.
        first_bytes: stop when it inflates to more than this, or has many members.

    Returns:
        The inflated body; None if it stopped at ``first_bytes``.

    Raises:
        Unsupported: another encoding.
        InvalidInput: a damaged stream, or bytes after its end.
        TooLarge: inflates beyond the limit, or has too many members.
    """
    if encoding in {"", "identity"}:
        return body
    if encoding not in _WINDOW_BITS:
        raise Unsupported(f"Content-Encoding {encoding!r} is not supported; send {', '.join(ENCODINGS)} or none")
    # One byte more than allowed distinguishes a body of exactly the limit from a longer one.
    most_bytes = min(limit_bytes, limit_bytes if first_bytes is None else first_bytes) + 1
    most_members = MOST_MEMBERS if first_bytes is None else FIRST_MEMBERS
    parts: list[bytes] = []
    members, size, place, view = 1, 0, 0, memoryview(body)
    inflater = zlib.decompressobj(_WINDOW_BITS[encoding])
    while size < most_bytes and (place < len(view) or not inflater.eof):
        if inflater.eof:
            if encoding != "gzip":
                raise InvalidInput(f"body continues after the end of its {encoding} data; send nothing else")
            members += 1
            if members > most_members:
                break
            inflater = zlib.decompressobj(_WINDOW_BITS[encoding])
        if place == len(view):
            raise InvalidInput(f"body ends before its {encoding} data does; send all of it")
        part = view[place : place + _PART_BYTES]
        try:
            plain = inflater.decompress(part, most_bytes - size)
        except zlib.error as error:
            reason = str(error).rpartition(": ")[2]
            raise InvalidInput(f"body is not compressed as Content-Encoding says ({encoding}): {reason}") from error
        place += len(part) - len(inflater.unused_data) - len(inflater.unconsumed_tail)
        size += len(plain)
        parts.append(plain)
    if size > limit_bytes:
        raise TooLarge(f"body inflates to more than {limit_bytes} bytes; at most {limit_bytes} are accepted")
    if first_bytes is not None and (size > first_bytes or members > most_members):
        return None
    if members > most_members:
        raise TooLarge(f"body has more than {MOST_MEMBERS} {encoding} members; at most {MOST_MEMBERS} are accepted")
    return parts[0] if len(parts) == 1 else b"".join(parts)


def accepted_encoding(accept_encoding: str) -> str | None:
    """The supported encoding that an Accept-Encoding header prefers; None if it accepts none of them.

    Source: RFC 9110, section 12.5.3; of equal weights gzip comes first.
    """
    weights: dict[str, float] = {}
    for part in accept_encoding.split(","):
        coding, _, weight = part.partition(";")
        weights[coding.strip()] = _weight(weight)
    everything = weights.get("*", 0.0)
    best = max(ENCODINGS, key=lambda coding: weights.get(coding, everything))
    return best if weights.get(best, everything) > 0 else None


def compress(reply: Reply, encoding: str) -> Reply:
    """The same reply with its body compressed. Inference-Header-Content-Length still counts uncompressed bytes."""
    body = compressed(reply.body, encoding)
    headers = ((b"content-encoding", encoding.encode()), (b"vary", b"accept-encoding"))
    return replace(reply, body=body, headers=(*reply.headers, *headers))


def compressed(body: bytes, encoding: str) -> bytes:
    """A body in one of ``ENCODINGS``, at its fastest level."""
    compressor = zlib.compressobj(_FASTEST, zlib.DEFLATED, _WINDOW_BITS[encoding])
    return compressor.compress(body) + compressor.flush()


def _weight(text: str) -> float:
    name, _, value = text.strip().partition("=")
    if name.strip() != "q":
        return 1.0
    try:
        return float(value)
    except ValueError:
        return 0.0
