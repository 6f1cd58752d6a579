"""URLs of models on other machines."""

import re
from dataclasses import dataclass
from hashlib import sha256
from typing import Self
from urllib.parse import urlsplit

# Scheme -> the package that fsspec needs for it.
PACKAGES = {"s3": "s3fs", "gs": "gcsfs", "hf": "huggingface_hub", "http": "aiohttp", "https": "aiohttp"}
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)", re.DOTALL)
_EXAMPLES = {"http": "host/models", "https": "host/models", "hf": "owner/repository"}


@dataclass(frozen=True)
class Location:
    """Where the models are.

    Attributes:
        scheme: a key of ``PACKAGES``.
        url: without a slash at its end.
    """

    scheme: str
    url: str

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """The location of a URL, such as ``s3://bucket/models``; None if the text is a path.

        Raises:
            ValueError: an unknown scheme, nothing after it, or a password, query or fragment.
        """
        found = _URL.fullmatch(text)
        if found is None:
            return None
        scheme, rest = found[1].lower(), found[2].rstrip("/")
        if scheme not in PACKAGES:
            known = ", ".join(f"{each}://" for each in PACKAGES)
            raise ValueError(f"{found[1]}:// is not supported; a models directory is a path, or one of {known}")
        url = f"{scheme}://{rest}"
        parts = urlsplit(url)
        if not rest or not parts.netloc or not url.isprintable():
            raise ValueError(f"{text!r} names no place; write {scheme}://{_EXAMPLES.get(scheme, 'bucket/models')}")
        if "@" in parts.netloc:
            raise ValueError(
                "a URL of models may not have a name or password; see docs/how-to/serve-models-from-storage.md"
            )
        if parts.query or parts.fragment:
            raise ValueError("the URL of models may not have a query or a fragment; it is that of a directory")
        return cls(scheme, url)

    def __str__(self) -> str:
        return self.url

    @property
    def key(self) -> str:
        """The name of its copy: 16 hexadecimal digits."""
        return sha256(self.url.encode()).hexdigest()[:16]
