"""The file of API keys: what it may contain, and how a key is added.

The file contains sha256 hashes. A key is 256 random bits, so it cannot be guessed. A slow hash (bcrypt, scrypt) would
add no protection, but would cost every request a tenth of a second instead of a microsecond.
"""

import fcntl
import hashlib
import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from app.contract.files.regular import read_file
from app.contract.files.replacing import write_whole
from app.errors import KeysUnreadable, ServingError

Scope = Literal["infer", "feedback", "admin", "metrics"]
# Prefix of all keys, so that secret scanners find a key that was committed.
PREFIX = "atelier_"
FILE_LIMIT_BYTES = 2**20
# Limits of a key's rate, in requests per second: the slowest is about one a day.
SLOWEST_RATE = 1e-5
FASTEST_RATE = 1e6
_SECRET_BYTES = 32


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
        _write(path, (*keys, entry))
    return key


def remove_key(path: Path, *, name: str) -> None:
    """Remove the key with that name from the file. Raises as ``add_key``; KeysUnreadable also without such a key."""
    with _locked(path.parent):
        keys = read_keys(path).keys
        kept = tuple(key for key in keys if key.name != name)
        if len(kept) == len(keys):
            known = ", ".join(key.name for key in keys[:20]) or "none"
            raise KeysUnreadable(f"there is no key named {name!r} in {str(path)!r}; it has {known}")
        _write(path, kept)


def _write(path: Path, keys: tuple[KeyEntry, ...]) -> None:
    text = KeysFile(keys=keys).model_dump_json(indent=2, exclude_none=True) + "\n"
    write_whole(path, text.encode(), mode=0o600)


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """Lock the file, so that concurrent appends keep both keys."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
