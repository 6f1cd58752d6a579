"""API keys: which clients may use inference, administer, or scrape, and how often.

The file contains sha256 hashes. A key is 256 random bits, so it cannot be guessed. A slow hash (bcrypt, scrypt) would
add no protection, but would cost every request a tenth of a second instead of a microsecond.
"""

import fcntl
import hashlib
import hmac
import logging
import math
import os
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from app.contract.files.regular import read_file
from app.contract.files.replacing import write_whole
from app.control.credentials import Credentials
from app.errors import Forbidden, KeysUnreadable, RateExceeded, ServingError, Unauthenticated

log = logging.getLogger("atelier.keys")

Scope = Literal["infer", "admin", "metrics"]
# Prefix of all keys, so that secret scanners find a key that was committed.
PREFIX = "atelier_"
FILE_LIMIT_BYTES = 2**20
# Limits of a key's rate, in requests per second: the slowest is about one a day.
SLOWEST_RATE = 1e-5
FASTEST_RATE = 1e6
_SECRET_BYTES = 32
_INDEX_BYTES = 8


def _unique(scopes: tuple[Scope, ...]) -> tuple[Scope, ...]:
    if len(set(scopes)) != len(scopes):
        raise ValueError(f"a scope is repeated in {', '.join(scopes)}")
    return scopes


class KeyEntry(BaseModel):
    """One key in the file.

    Attributes:
        name: for messages and logs.
        sha256: hash of the key's bytes, in hexadecimal.
        scopes: what it allows.
        rate: most requests per second and process; None: no limit.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(min_length=1, max_length=64, pattern=r"^[\w.@:-]+$")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    scopes: Annotated[tuple[Scope, ...], AfterValidator(_unique)] = Field(min_length=1)
    rate: float | None = Field(default=None, ge=SLOWEST_RATE, le=FASTEST_RATE)


class KeysFile(BaseModel):
    """The file: ``{"keys": [...]}``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    keys: tuple[KeyEntry, ...] = Field(max_length=4_096)


def read_keys(path: Path) -> KeysFile:
    """Read the file.

    Raises:
        KeysUnreadable: it is missing, not a regular file, too large, or breaks a rule; the message never quotes its
            content.
    """
    try:
        found = KeysFile.model_validate_json(read_file(path, FILE_LIMIT_BYTES))
    except (OSError, ServingError) as error:
        raise KeysUnreadable(f"the file of API keys {str(path)!r} cannot be read: {error}") from error
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or "the document"
        raise KeysUnreadable(f"the file of API keys {str(path)!r}: {where}: {first['msg']}") from None
    for field in ("name", "sha256"):
        values = [getattr(entry, field) for entry in found.keys]
        if len(set(values)) != len(values):
            raise KeysUnreadable(f"the file of API keys {str(path)!r}: two keys have the same {field}")
    return found


def add_key(path: Path, *, name: str, scopes: Sequence[str], rate: float | None) -> str:
    """Create a key and append its hash to the file, which is created if missing, readable only by its owner.

    Returns:
        The key, which is not stored anywhere.

    Raises:
        KeysUnreadable: the file is broken, or already has a key with that name, or an argument breaks a rule.
        OSError: the file cannot be written.
    """
    try:
        key = PREFIX + secrets.token_urlsafe(_SECRET_BYTES)
        entry = KeyEntry(name=name, sha256=hashlib.sha256(key.encode()).hexdigest(), scopes=scopes, rate=rate)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise KeysUnreadable(f"{first['loc'][0]}: {first['msg']}") from None
    with _locked(path.parent):
        keys = read_keys(path).keys if path.exists() else ()
        if any(other.name == name for other in keys):
            raise KeysUnreadable(f"a key named {name!r} already exists; choose another name")
        text = KeysFile(keys=(*keys, entry)).model_dump_json(indent=2, exclude_none=True) + "\n"
        write_whole(path, text.encode(), mode=0o600)
    return key


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """Lock the file, so that concurrent appends keep both keys."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


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
