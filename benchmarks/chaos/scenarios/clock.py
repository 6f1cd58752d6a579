"""A wall clock that jumps."""

import os
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import gettempdir

from benchmarks.chaos.target import MOST_SILENCE_S, Found, Scenario, Target

# libfaketime shifts the wall clock of the service by the text in this file.
CLOCK = Path(gettempdir()) / f"atelier-clock-{os.getpid()}"
# In which the service takes over a new date.
DATE_LIMIT_S = 10.0
JUMPS = ("+1d", "-1d", "+4000d", "-20d", "+0")
_FAKETIME = ("/usr/lib/*/faketime/libfaketimeMT.so.1", "/usr/lib*/faketime/libfaketimeMT.so.1")


def jump(target: Target) -> Found:
    """The wall clock jumps by days, months and years, back and forth."""
    before, longest, faults = target.metric("atelier_request_seconds_sum"), 0.0, []
    began = time.perf_counter()
    for offset in JUMPS:
        CLOCK.write_text(offset, encoding="ascii")
        longest = max(longest, target.longest_wait_s(1.5))
        status, body = target.service.post("/v2/repository/models/fashion-mnist-cnn/load")
        if status != 200:
            faults.append(f"a load at {offset} was answered {status}: {body}")
        if not _says(target, jumped=offset != "+0"):
            faults.append(f"after a jump by {offset} the service said {target.date()}")
    CLOCK.unlink()
    spent = target.metric("atelier_request_seconds_sum") - before
    if not 0 < spent < 10 * (time.perf_counter() - began):
        faults.append(f"requests took {spent:.0f} s together, the metrics say")
    if longest > MOST_SILENCE_S:
        faults.append(f"health took {longest * 1e3:.0f} ms")
    return Found(f"{len(JUMPS)} jumps; health {longest * 1e3:.0f} ms at most", faults)


def _says(target: Target, *, jumped: bool) -> bool:
    """Whether replies have another date than today, or today's; uvicorn takes the date about once a second."""
    ends_at = time.monotonic() + DATE_LIMIT_S
    while time.monotonic() < ends_at:
        if (target.date() != time.strftime("%d %b %Y", time.gmtime())) == jumped:
            return True
        time.sleep(0.1)
    return False


def own_clock() -> Sequence[str]:
    """The service reads its wall clock through libfaketime; other processes read the kernel's."""
    CLOCK.write_text("+0", encoding="ascii")
    return (
        "env",
        f"LD_PRELOAD={_libfaketime()}",
        f"FAKETIME_TIMESTAMP_FILE={CLOCK}",
        "FAKETIME_NO_CACHE=1",
        "FAKETIME_DONT_FAKE_MONOTONIC=1",
        "DONT_FAKE_MONOTONIC=1",  # its name before 0.9.10
    )


def no_faketime() -> str:
    """Empty if libfaketime is installed."""
    return "" if _libfaketime() else "requires libfaketime (apt install faketime)"


def _libfaketime() -> Path | None:
    return next((found for place in _FAKETIME for found in Path("/").glob(place[1:])), None)


JUMP = Scenario(
    "clock jumps",
    "no effect: no timeout, no refusal; loads and metrics continue",
    jump,
    prefix=own_clock,
    lacking=no_faketime,
)
