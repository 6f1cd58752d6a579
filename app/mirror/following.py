"""Looks at the URL again and again, in a thread of its own."""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from threading import Event, Thread

from app.errors import ServingError
from app.mirror.mirror import Mirror

log = logging.getLogger("atelier.mirror")

# Seconds after a look that failed; twice as many after each further one, up to the usual time.
RETRY_S = 5.0
# Looks after which a service without an earlier copy serves what could be copied.
FIRST_LOOKS = 3
# A service with a copy waits this long for the first look, and then serves what it has.
FIRST_LOOK_S = 10.0


class MirrorThread:
    """Copies once before the models load, and again every ``every_s`` seconds.

    The thread is not waited for at the end of the process: a call to a storage may take as long as its timeouts allow,
    and what it has copied of a version is used again after the next start.

    Args:
        mirror: copies.
        every_s: seconds between two looks; None: only one that succeeds.
    """

    def __init__(self, mirror: Mirror, *, every_s: float | None) -> None:
        self.mirror = mirror
        self._every_s = every_s
        self._ended = Event()
        self._problem = ""

    def state(self) -> str:
        """Why there are no models yet."""
        what = f"models are being copied from {self.mirror.location.url}"
        return f"{what}: {self._problem}" if self._problem else what

    async def usable(self) -> None:
        """Start, and return once there is a copy: of this look or, if it fails or takes long, of an earlier one."""
        loop, usable = asyncio.get_running_loop(), asyncio.Event()

        def tell() -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(usable.set)

        limit_s = FIRST_LOOK_S if self.mirror.has_versions else None
        Thread(target=self._run, args=(tell,), name="mirror", daemon=True).start()
        with suppress(TimeoutError):
            await asyncio.wait_for(usable.wait(), limit_s)

    def end(self) -> None:
        """Look no more."""
        self._ended.set()

    def _run(self, usable: Callable[[], None]) -> None:
        had_versions, failed = self.mirror.has_versions, 0
        while not self._ended.is_set():
            if self._look():
                failed = 0
                usable()
                if self._every_s is None:
                    return
                wait_s = self._every_s
            else:
                if had_versions or (failed + 1 >= FIRST_LOOKS and self.mirror.has_versions):
                    usable()
                wait_s = min(RETRY_S * 2**failed, max(self._every_s or 0, RETRY_S))
                failed += 1
            self._ended.wait(wait_s)

    def _look(self) -> bool:
        try:
            self.mirror.copy()
        except (ServingError, OSError) as error:
            problem = str(error)
        except Exception:
            log.exception("the copy of %s could not be updated", self.mirror.location.url)
            problem = "an unexpected error; see the log"
        else:
            if self._problem:
                log.info("%s can be read again", self.mirror.location.url)
            self._problem = ""
            return True
        if problem != self._problem and not self._ended.is_set():
            self._problem = problem
            kept = "; the copy of an earlier look is served" if self.mirror.has_versions else ""
            log.warning("models cannot be copied: %s%s; it is tried again", problem, kept)
        return False
