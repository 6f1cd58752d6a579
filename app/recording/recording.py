"""Records the requests of one model: a share of them, without delaying any reply."""

import logging
import random
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Literal, Protocol

from app.batching.work import Prediction
from app.contract.recordings.directory import RecordingDirectory
from app.loaded import LoadedModel
from app.recording.answered import Answered, Texts
from app.recording.files import append
from app.recording.generated import Generated
from app.recording.writer import Recordable, Writer
from app.repository.recording_policy import RecordingPolicy
from app.types import Tensors

log = logging.getLogger("atelier.recording")

Reason = Literal["queue_full", "too_large", "disk", "failed"]
Dropped = Counter[tuple[int, Reason]]
"""Version and reason -> instances that are not recorded."""


class RecordingObserver(Protocol):
    """Counts recorded instances; ``telemetry.metrics`` implements it."""

    def rows_recorded(self, name: str, version: int, count: int) -> None:
        """Called when instances are in a file."""
        ...

    def recording_dropped(self, name: str, version: int, reason: str, count: int) -> None:
        """Called when instances that were to be recorded are not."""
        ...


class Recording:
    """Records requests of one model; made again when ``recording`` in its serving.json changes.

    Args:
        name: the model.
        policy: what is recorded.
        directory: of its files; None: nothing is recorded.
        writer: writes them.
        observer: counts them.
        draw: a random number of 0 to less than 1.
        wall_clock: seconds since 1970.
    """

    def __init__(
        self,
        name: str,
        policy: RecordingPolicy,
        *,
        directory: RecordingDirectory | None = None,
        writer: Writer | None = None,
        observer: RecordingObserver | None = None,
        draw: Callable[[], float] = random.random,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self.name = name
        self.policy = policy
        self.directory = directory
        self._writer = writer
        self._observer = observer
        self._draw = draw
        self._wall_clock = wall_clock
        self._fails = False  # in the thread of the writer

    @property
    def is_on(self) -> bool:
        """Whether some requests are recorded."""
        return self.directory is not None and self._writer is not None and self.policy.sample > 0

    def take(
        self,
        model: LoadedModel,
        inputs: Tensors,
        prediction: Prediction,
        *,
        texts: Texts,
        request_id: str,
        protocol: str,
    ) -> None:
        """Record an answered request, or not: a share of them is. On the event loop; never blocks or raises.

        Args:
            model: what answered.
            inputs: as ``predict`` took them.
            prediction: the answer.
            texts: see ``Answered``.
            request_id: as the client knows it.
            protocol: as metrics name it.
        """
        if self._writer is None or self._draw() >= self.policy.sample:
            return
        self._offer(Answered(model, request_id, protocol, inputs, texts, prediction, round(self._wall_clock(), 3)))

    def take_text(self, model: LoadedModel, prompt: str, text: str, *, request_id: str, protocol: str) -> None:
        """Record a text that was continued to its end, or not; otherwise as ``take``.

        Args:
            model: what continued it.
            prompt: the text of the client.
            text: what was added to it.
            request_id: as the client knows it.
            protocol: as metrics name it.
        """
        if self._writer is None or self._draw() >= self.policy.sample:
            return
        self._offer(Generated(model, request_id, protocol, prompt, text, round(self._wall_clock(), 3)))

    def _offer(self, answered: Recordable) -> None:
        """Queue a request to be written; never raises."""
        assert self._writer is not None
        try:
            if not self._writer.offer(self, answered):
                self._count({}, Counter({(answered.model.version, "queue_full"): answered.rows}))
        except Exception:
            log.exception("a request to model %s cannot be recorded", self.name)

    def write(self, answered: Sequence[Recordable]) -> Callable[[], None]:
        """See ``writer.Target``."""
        lines: list[bytes] = []
        versions: list[int] = []  # of each line
        dropped: Dropped = Counter()
        for each in answered:
            made = self._lines(each, dropped)
            lines += made
            versions += [each.model.version] * len(made)
        written = self._append(lines)
        dropped.update((version, "disk") for version in versions[written:])
        return partial(self._count, Counter(versions[:written]), dropped)

    def _lines(self, answered: Recordable, dropped: Dropped) -> list[bytes]:
        version = answered.model.version
        try:
            made = list(answered.lines())
        except Exception:
            log.exception("request %s to model %s cannot be recorded", answered.request_id, self.name)
            dropped[version, "failed"] += answered.rows
            return []
        fitting = [line for line in made if len(line) <= self.policy.max_file_bytes]
        dropped[version, "too_large"] += len(made) - len(fitting)
        return fitting

    def _append(self, lines: Sequence[bytes]) -> int:
        """Append lines; returns how many could be. The log has the first of several errors in a row."""
        assert self.directory is not None
        written = 0
        try:
            while written < len(lines):
                written += append(
                    self.directory,
                    lines[written:],
                    max_file_bytes=self.policy.max_file_bytes,
                    max_files=self.policy.max_files,
                )
        except OSError as error:
            if not self._fails:
                log.error(
                    "model %s: requests are not recorded: %s: %s",
                    self.name,
                    self.directory.path,
                    error.strerror or error,
                )
            self._fails = True
        else:
            if self._fails and lines:
                log.info("model %s: requests are recorded again", self.name)
                self._fails = False
        return written

    def _count(self, recorded: Mapping[int, int], dropped: Dropped) -> None:
        if self._observer is None:
            return
        for version, count in recorded.items():
            self._observer.rows_recorded(self.name, version, count)
        for (version, reason), count in (+dropped).items():
            self._observer.recording_dropped(self.name, version, reason, count)
