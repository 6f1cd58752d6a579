"""TLS of both protocols: certificate, key, and whose certificates clients must have."""

import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypedDict

from app.contract.files import read_file

FILE_LIMIT_BYTES = 2**20
# Closing a connection waits so long for the client to agree; an idle one that does not read would hold up the end.
CLOSE_TIMEOUT_S = 1.0


class TlsTimes(TypedDict, total=False):
    """How an event loop encrypts a connection, and what it waits for."""

    ssl: ssl.SSLContext
    ssl_handshake_timeout: float
    ssl_shutdown_timeout: float


def tls_times(context: ssl.SSLContext | None, *, handshake_timeout_s: float) -> TlsTimes:
    """Arguments for ``create_server`` and its like; empty without a context."""
    if context is None:
        return {}
    return {
        "ssl": context,
        "ssl_handshake_timeout": handshake_timeout_s,
        "ssl_shutdown_timeout": CLOSE_TIMEOUT_S,
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """Files in PEM.

    Attributes:
        cert: the service's certificate, those that signed it after it.
        key: its private key; may be the same file.
        client_ca: who signs the certificates of clients, which then need one; None: they need none.
        password: of the key, if that is encrypted.
    """

    cert: Path
    key: Path
    client_ca: Path | None = None
    password: str | None = field(default=None, repr=False)

    def context(self) -> ssl.SSLContext:
        """For HTTP. TLS 1.2 at least.

        Raises:
            OSError: a file cannot be read, is no PEM, or the key does not fit; ``ssl.SSLError`` is one.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        # A function: without a password OpenSSL would ask the terminal for it.
        context.load_cert_chain(self.cert, self.key, lambda: self.password or "")
        if self.client_ca is not None:
            context.load_verify_locations(self.client_ca)
            context.verify_mode = ssl.CERT_REQUIRED
        return context

    def parts(self) -> tuple[bytes, bytes, bytes | None]:
        """Key, certificate and signers of clients, for gRPC; raises as ``read_file`` does."""
        client_ca = None if self.client_ca is None else read_file(self.client_ca, FILE_LIMIT_BYTES)
        return read_file(self.key, FILE_LIMIT_BYTES), read_file(self.cert, FILE_LIMIT_BYTES), client_ca
