"""Content-Encoding of bodies, both ways: gzip and deflate."""

import zlib
from dataclasses import replace

from app.edge.respond import Reply
from app.errors import InvalidInput, TooLarge, Unsupported

_WINDOW_BITS = {"gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}
ENCODINGS = tuple(_WINDOW_BITS)
# A smaller reply fits one packet anyway.
COMPRESS_FROM_BYTES = 1_024
_FASTEST = 1
# A gzip file is one member or several, one after the other (RFC 1952, section 2.2); bgzip makes one for each 64 KiB.
MOST_MEMBERS = 4_096
# An inflater costs some microseconds, so more of them are no matter for the event loop.
FIRST_MEMBERS = 8
# At the end of a member the inflater copies what follows, so it is not given all of it.
_PART_BYTES = 65_536


def inflate(body: bytes, encoding: str, *, limit_bytes: int, first_bytes: int | None = None) -> bytes | None:
    """Undo ``Content-Encoding``.

    Args:
        body: as received.
        encoding: "gzip", "deflate", "identity" or empty.
        limit_bytes: most bytes after inflating; a bomb is stopped there.
        first_bytes: give up when it inflates to more than this, or has many members.

    Returns:
        What was compressed; None if it was given up.

    Raises:
        Unsupported: another encoding.
        InvalidInput: a damaged stream, or one that something else follows.
        TooLarge: inflates beyond the limit, or has too many members.
    """
    if encoding in {"", "identity"}:
        return body
    if encoding not in _WINDOW_BITS:
        raise Unsupported(f"Content-Encoding {encoding!r} is not supported; send {', '.join(ENCODINGS)} or none")
    # One more byte than allowed tells a body that is just as long from a longer one.
    most_bytes = min(limit_bytes, limit_bytes if first_bytes is None else first_bytes) + 1
    most_members = MOST_MEMBERS if first_bytes is None else FIRST_MEMBERS
    parts: list[bytes] = []
    members, size, place, view = 1, 0, 0, memoryview(body)
    inflater = zlib.decompressobj(_WINDOW_BITS[encoding])
    while size < most_bytes and (place < len(view) or not inflater.eof):
        if inflater.eof:
            if encoding != "gzip":
                raise InvalidInput(f"body goes on after the end of its {encoding} data; send nothing else")
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
    """The encoding that an Accept-Encoding header likes best; None if it likes none of ours.

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
    """The same reply with its body compressed. Inference-Header-Content-Length goes on counting plain bytes."""
    compressor = zlib.compressobj(_FASTEST, zlib.DEFLATED, _WINDOW_BITS[encoding])
    body = compressor.compress(reply.body) + compressor.flush()
    headers = ((b"content-encoding", encoding.encode()), (b"vary", b"accept-encoding"))
    return replace(reply, body=body, headers=(*reply.headers, *headers))


def _weight(text: str) -> float:
    name, _, value = text.strip().partition("=")
    if name.strip() != "q":
        return 1.0
    try:
        return float(value)
    except ValueError:
        return 0.0
