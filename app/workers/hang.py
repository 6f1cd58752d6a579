"""When a worker whose backends hang is replaced."""

import time
from collections.abc import Callable

# A thread in a call that does not return cannot be stopped, its process can. Until then the call may still return.
REPLACE_AFTER_S = 60.0


class Hang:
    """How long the backends of this worker have hung.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._since: float | None = None

    def is_final(self, *, hangs: bool) -> bool:
        """Whether it has lasted for ``REPLACE_AFTER_S``; to be called continuously.

        Args:
            hangs: no backend returns at the moment.
        """
        if not hangs:
            self._since = None
        elif self._since is None:
            self._since = self._clock()
        return self._since is not None and self._clock() - self._since >= REPLACE_AFTER_S
