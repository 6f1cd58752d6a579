"""Time and memory of a call."""

import gc
import json
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]

_DECODE = """
import json, re, sys, time
from app.contract.images.image_file import open_image

def memory(field):
    with open("/proc/self/status") as status:
        return 1024 * int(re.search(field + r":\\s+(\\d+)", status.read())[1])

data, asked = sys.stdin.buffer.read(), 0
with open("/proc/self/clear_refs", "w") as peak:
    peak.write("5")  # reset the peak
before, began = memory("VmRSS"), time.process_time()
try:
    file = open_image(data, longest_edge=int(sys.argv[1]))
    asked = file.peak_bytes
    image = file.decode()
    outcome = f"{image.size[0]}x{image.size[1]} {image.mode}"
except Exception as error:
    outcome = f"{type(error).__name__}: {error}"
spent = time.process_time() - began
peak_bytes = memory("VmHWM") - before
print(json.dumps({"outcome": outcome, "seconds": spent, "peak_bytes": peak_bytes, "asked_bytes": asked}))
"""


def time_ratio(call, reference, *, below, attempts=20):
    """The processor time of `call` over that of `reference`, at most; measured until it is less than `below`.

    The least time of each counts, of attempts in turn: other work on the machine adds to a time and takes nothing from
    it. So a call that is cheap enough needs few attempts, and one that is not fails after all of them.
    """
    seconds = {call: float("inf"), reference: float("inf")}
    for attempt in range(attempts):
        for measured in (reference, call):
            seconds[measured] = min(seconds[measured], _seconds(measured))
        if attempt and seconds[call] < below * seconds[reference]:
            break
    return seconds[call] / seconds[reference]


def _seconds(call):
    """The processor time of this thread, without garbage collections, which visit all that earlier tests have left."""
    gc.disable()
    try:
        started = time.thread_time()
        call()
        return time.thread_time() - started
    finally:
        gc.enable()


@dataclass(frozen=True)
class Decoding:
    """Time and memory of opening and decoding an image, in a separate process.

    Attributes:
        outcome: size and mode, or the name of the error and its message.
        seconds: of processor time.
        peak_bytes: peak memory above that of the process before.
        asked_bytes: the bytes it would have reserved in the budget; 0 if it was refused before.
    """

    outcome: str
    seconds: float
    peak_bytes: int
    asked_bytes: int


def decoding(data, *, longest_edge=28):
    """Open and decode an image in a fresh process."""
    command = [sys.executable, "-W", "ignore", "-c", _DECODE, str(longest_edge)]
    done = subprocess.run(command, input=data, capture_output=True, check=True, timeout=120, cwd=ROOT)
    return Decoding(**json.loads(done.stdout))
