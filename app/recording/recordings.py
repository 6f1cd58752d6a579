"""The recordings of all models of a process."""

import logging
from pathlib import Path

from app.contract.recordings.directory import RecordingDirectory
from app.recording.recording import Recording, RecordingObserver
from app.recording.writer import Writer
from app.repository.recording_policy import RecordingPolicy

log = logging.getLogger("atelier.recording")


class Recordings:
    """Starts the recording of a model; all share one thread, which writes.

    Args:
        state_dir: the files are below it; None: nothing can be recorded.
        observer: counts what is recorded.
        writer: writes; None makes one.
    """

    def __init__(self, state_dir: Path | None, observer: RecordingObserver, writer: Writer | None = None) -> None:
        self._state_dir = state_dir
        self._observer = observer
        self._writer = writer or Writer()

    def start(self, name: str, policy: RecordingPolicy) -> Recording:
        """Record requests of a model from now on."""
        if self._state_dir is None:
            log.error("model %s: requests are not recorded: there is no state directory: set ATELIER_STATE_DIR", name)
            return Recording(name, policy)
        directory = RecordingDirectory.of(self._state_dir, name)
        log.info("model %s: %g %% of the requests are recorded in %s", name, 100 * policy.sample, directory.path)
        return Recording(name, policy, directory=directory, writer=self._writer, observer=self._observer)

    def close(self, timeout_s: float) -> None:
        """Write what waits; see ``Writer.close``."""
        self._writer.close(timeout_s)
