"""How often a process that keeps dying is started again."""

import math

from app.types import Clock

# At most this many restarts within this many seconds.
RESTARTS = 3
RESTART_WINDOW_S = 60.0


class Restarts:
    """The restarts of one process in the last minute.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._times: list[float] = []
        self._down_until = -math.inf

    @property
    def down_for_s(self) -> float:
        """Seconds until the process may be started again; 0 if it runs, or may be started now."""
        return max(0.0, self._down_until - self._clock())

    def begin(self) -> None:
        """Record that the process is started again."""
        self._times.append(self._clock())

    def end(self) -> bool:
        """Record that the process has ended. Returns whether it must stay down for a while from now on."""
        if self.down_for_s:
            return False
        now = self._clock()
        self._times = [each for each in self._times if now - each < RESTART_WINDOW_S]
        if len(self._times) < RESTARTS:
            return False
        self._down_until = self._times[0] + RESTART_WINDOW_S
        return True
