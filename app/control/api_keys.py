"""API keys: which clients may use inference, administer, or scrape, and how often."""

import hashlib
import hmac
import logging
import math
import os
from collections.abc import Callable
from pathlib import Path

from app.control.credentials import Credentials
from app.control.keys_file import KeyEntry, KeysFile, Scope, read_keys
from app.errors import Forbidden, KeysUnreadable, RateExceeded, Unauthenticated

log = logging.getLogger("atelier.keys")

_INDEX_BYTES = 8


class _Key:
    """A valid key and its token bucket: a request takes a token, and the rate refills the bucket."""

    __slots__ = ("digest", "full", "name", "rate", "scopes", "since", "tokens")

    def __init__(self, entry: KeyEntry, now: float) -> None:
        self.name = entry.name
        self.digest = bytes.fromhex(entry.sha256)
        self.scopes: frozenset[str] = frozenset(entry.scopes)
        self.rate = entry.rate
        self.full = max(1.0, entry.rate or 0.0)
        self.tokens, self.since = self.full, now

    def take(self, now: float) -> float:
        """Take a token. Returns 0, or the seconds until the next token if there was none."""
        assert self.rate is not None
        self.tokens = min(self.full, self.tokens + (now - self.since) * self.rate)
        self.since = now
        if self.tokens < 1:
            return (1 - self.tokens) / self.rate
        self.tokens -= 1
        return 0.0


class ApiKeys:
    """The valid keys.

    Args:
        path: path of the file.
        clock: monotonic seconds.

    Raises:
        KeysUnreadable: see ``read_keys``.
    """

    def __init__(self, path: Path, *, clock: Callable[[], float]) -> None:
        self._path = path
        self._clock = clock
        self._seen: object = None
        # Why the file could not be read the last time; empty if it could.
        self._mistake = ""
        self._keys: dict[bytes, _Key] = {}
        self._seen = self._look()
        self._use(read_keys(path))

    def check(
        self,
        scope: Scope,
        credentials: Credentials,
        *,
        found: Callable[[str], object] = lambda name: None,
    ) -> str:
        """Check one call.

        Args:
            scope: scope that the call requires.
            credentials: of the call.
            found: called with the name of a valid key, even if the key does not allow the call.

        Returns:
            The key's name.

        Raises:
            Unauthenticated: the call has no key, an unknown one, or several.
            Forbidden: the key has other scopes.
            RateExceeded: the key was used for too many requests.
        """
        given = credentials.key
        if not given:
            raise Unauthenticated(f"an API key is required; send {credentials.place}: Bearer KEY, or x-api-key: KEY")
        digest = hashlib.sha256(given).digest()
        key = self._keys.get(digest[:_INDEX_BYTES])
        if key is None or not hmac.compare_digest(key.digest, digest):
            raise Unauthenticated("the API key is unknown or was withdrawn")
        found(key.name)
        if scope not in key.scopes:
            raise Forbidden(f"the API key {key.name!r} is for {', '.join(sorted(key.scopes))}; {scope!r} is required")
        if key.rate is not None and (wait_s := key.take(self._clock())):
            raise RateExceeded(
                f"the API key {key.name!r} allows {key.rate:g} requests per second", retry_after_s=math.ceil(wait_s)
            )
        return key.name

    def reread(self) -> None:
        """Reload the file if it has changed; a broken file leaves the keys unchanged, and the log has the reason.

        Blocks while it reads.
        """
        seen = self._look()
        if seen == self._seen and not self._mistake:
            return
        self._seen = seen
        try:
            found = read_keys(self._path)
        except KeysUnreadable as error:  # the reason may pass without a change of the file, so it is read again
            if str(error) != self._mistake:
                log.error("%s; the previous keys stay in effect", error)
            self._mistake = str(error)
            return
        self._mistake = ""
        self._use(found)

    def _look(self) -> object:
        try:
            stat = os.stat(self._path)
        except OSError as error:
            return error.errno
        return (stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)

    def _use(self, found: KeysFile) -> None:
        now = self._clock()
        keys = {key.digest[:_INDEX_BYTES]: key for key in (_Key(entry, now) for entry in found.keys)}
        for place, key in keys.items():  # a change of the file does not refill buckets
            old = self._keys.get(place)
            if old is not None and old.rate == key.rate:
                key.tokens, key.since = old.tokens, old.since
        self._keys = keys
        if keys:
            log.info(
                "%d API keys are in force: %s", len(keys), ", ".join(sorted(key.name for key in keys.values())[:20])
            )
        else:
            log.warning(
                "%s has no API key: every inference request is refused; python -m app keys new adds one", self._path
            )
