"""Mutates input of every decoder in turn, keeps input with new outcomes, and reports broken promises."""

import hashlib
import logging
import os
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from time import monotonic, perf_counter

from benchmarks.fuzzing.mutations import mutate
from benchmarks.fuzzing.targets import Target, make_targets

# Executions of one decoder before the next one has its turn.
TURN = 200
# Most inputs of one decoder in the corpus; each is the first with its outcome.
MOST_KEPT = 2_000
FINDINGS = "findings"


@dataclass(slots=True)
class Tally:
    """One decoder's part of a run.

    Attributes:
        executions, seconds: including mutation.
        kept: inputs in its corpus.
        answered: executions that were not refused.
        findings: place in the code at which a promise was broken -> the file with the input.
    """

    executions: int = 0
    seconds: float = 0.0
    kept: int = 0
    answered: int = 0
    findings: dict[str, Path] = field(default_factory=dict)


def fuzz(corpus: Path, *, executions: int, seconds: float, seed: int) -> dict[str, Tally]:
    """Run all decoders in turn until one of the two limits.

    Args:
        corpus: a folder for each decoder, read and extended, and ``findings``.
        executions: of all decoders together.
        seconds: of the whole run.
        seed: of the mutations; the same seed and corpus give the same inputs.
    """
    logging.disable()
    random = Random(seed)
    tallies: dict[str, Tally] = {}
    end = monotonic() + seconds
    with tempfile.TemporaryDirectory() as place, quiet_libraries():
        workers = [
            Worker(target, corpus, tallies.setdefault(target.name, Tally())) for target in make_targets(Path(place))
        ]
        done = 0
        while done < executions and monotonic() < end:
            for worker in workers:
                turn = min(TURN, executions - done)
                worker.run(turn, random)
                done += turn
    logging.disable(logging.NOTSET)
    return tallies


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """Keep libtiff's messages about damaged files out of standard error."""
    sys.stderr.flush()
    kept = os.dup(2)
    with Path(os.devnull).open("wb") as nothing:
        os.dup2(nothing.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


class Worker:
    """One decoder and its corpus.

    Args:
        target: the decoder.
        corpus: contains its folder.
        tally: receives the counts.
    """

    def __init__(self, target: Target, corpus: Path, tally: Tally) -> None:
        self._target = target
        self._folder = corpus / target.name.replace(" ", "-").replace(",", "")
        self._findings = corpus / FINDINGS
        self._tally = tally
        self._outcomes: Counter[str] = Counter()
        self._inputs = list(target.seeds)
        self._folder.mkdir(parents=True, exist_ok=True)
        found = sorted(path.read_bytes() for path in self._folder.iterdir())
        for data in [*target.seeds, *found]:
            if self._is_new(data) and data not in self._inputs:
                self._inputs.append(data)

    def run(self, executions: int, random: Random) -> None:
        """Mutate and decode ``executions`` times."""
        began = perf_counter()
        for _ in range(executions):
            # Half of them start from valid input: most of the corpus was refused, and so are most of its mutations.
            first = random.choice(self._target.seeds if random.random() < 0.5 else self._inputs)
            data = mutate(first, random, random.choice(self._inputs))
            if self._is_new(data) and len(self._inputs) < MOST_KEPT:
                self._inputs.append(data)
                (self._folder / _name(data)).write_bytes(data)
        self._tally.executions += executions
        self._tally.seconds += perf_counter() - began
        self._tally.kept = len(self._inputs)
        self._tally.answered = self._outcomes["ok"]

    def _is_new(self, data: bytes) -> bool:
        """Decode. Returns whether no earlier input had this outcome."""
        try:
            outcome = self._target.outcome(data)
        except Exception as error:  # noqa: BLE001 - any exception of a decoder is a finding
            self._report(data, error)
            return False
        self._outcomes[outcome] += 1
        return self._outcomes[outcome] == 1

    def _report(self, data: bytes, error: Exception) -> None:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{type(error).__name__} at {Path(frame.filename).name}:{frame.lineno}"
        if place not in self._tally.findings:
            self._findings.mkdir(exist_ok=True)
            path = self._findings / f"{self._folder.name}-{_name(data)}"
            path.write_bytes(data)
            path.with_suffix(".txt").write_text("".join(traceback.format_exception(error)), encoding="utf-8")
            self._tally.findings[place] = path


def _name(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]
