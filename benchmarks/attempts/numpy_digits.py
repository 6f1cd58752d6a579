"""Images as JSON numbers, the bodies of a turn read together by NumPy in place of simdjson, one after the other.

``python -m benchmarks.attempts.numpy_digits`` prints the processor time of both, for bodies in the cache and after the
weights of a network have been read, as between two batches. NumPy is as quick at best, and does not check the nesting
(docs/explanation/performance.md).
"""

import time
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import orjson
import simdjson

Images = npt.NDArray[np.uint8]
PIXELS = 28 * 28
BODIES = (1, 8, 32)
REPEATS = 200
OTHER_MEMORY_BYTES = 3 * 2**20

_parser = simdjson.Parser()


def by_simdjson(bodies: Sequence[bytes]) -> Images:
    """uint8 (bodies, pixels)."""
    rows = np.empty((len(bodies), PIXELS), np.uint8)
    for row, body in zip(rows, bodies, strict=True):
        row[:] = np.frombuffer(_parser.parse(body)["instances"].as_buffer(of_type="i"), np.int64)
    return rows


def by_numpy(bodies: Sequence[bytes]) -> Images:
    """The same, of numbers of one to three digits; nothing else is checked."""
    digits = np.frombuffer(b"".join(bodies), np.uint8) - ord("0")
    is_digit = digits <= 9
    ends = np.flatnonzero(is_digit[:-1] & ~is_digit[1:])
    values = digits[ends].astype(np.uint16)
    has_tens = is_digit[ends - 1]
    values += np.where(has_tens, digits[ends - 1], 0) * np.uint16(10)
    values += np.where(has_tens & is_digit[ends - 2], digits[ends - 2], 0) * np.uint16(100)
    return values.astype(np.uint8).reshape(len(bodies), PIXELS)


def main() -> None:
    """Compare, then measure in turn."""
    images = np.random.default_rng(0).integers(0, 256, (max(BODIES), 28, 28), np.uint8)
    bodies = [orjson.dumps({"instances": [image.tolist()]}) for image in images]
    assert np.array_equal(by_numpy(bodies), by_simdjson(bodies))
    assert np.array_equal(by_numpy(bodies), images.reshape(len(images), PIXELS))
    other = np.ones(OTHER_MEMORY_BYTES, np.uint8)
    print("bodies  memory between   simdjson, us a body   NumPy, us a body")
    for count in BODIES:
        for between in (False, True):
            took = [_microseconds(read, bodies[:count], other if between else None) for read in (by_simdjson, by_numpy)]
            print(f"{count:6d}  {'3 MB' if between else 'none':14s}  {took[0]:20.1f}  {took[1]:17.1f}")


def _microseconds(read: Callable[[Sequence[bytes]], Images], bodies: Sequence[bytes], other: Images | None) -> float:
    """Processor time of a body, the median of the repeats."""
    took = []
    for _ in range(REPEATS):
        if other is not None:
            other.sum()
        began = time.process_time_ns()
        read(bodies)
        took.append((time.process_time_ns() - began) / 1e3 / len(bodies))
    return float(np.median(took))


if __name__ == "__main__":
    main()
