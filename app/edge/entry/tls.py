"""TLS for HTTP and gRPC: certificate, key, and the authorities of client certificates."""

import re
import ssl
import weakref
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypedDict

from app.contract.files.regular import read_file
from app.errors import ServingError

FILE_LIMIT_BYTES = 2**20
# Seconds to wait for the client when a connection closes; an idle client that does not read would delay the close.
CLOSE_TIMEOUT_S = 1.0
# Handshakes allowed in addition to ``max_connections``, so that an extra connection gets an answer before it is closed.
HANDSHAKES = 64


class TlsTimes(TypedDict, total=False):
    """Encryption of an event loop's connections, and its time limits."""

    ssl: ssl.SSLContext
    ssl_handshake_timeout: float
    ssl_shutdown_timeout: float


def tls_times(context: ssl.SSLContext | None, *, handshake_timeout_s: float) -> TlsTimes:
    """Keyword arguments for ``create_server`` and similar calls; empty without a context."""
    if context is None:
        return {}
    return {
        "ssl": context,
        "ssl_handshake_timeout": handshake_timeout_s,
        "ssl_shutdown_timeout": CLOSE_TIMEOUT_S,
    }


class CountingContext(ssl.SSLContext):
    """Encrypts at most ``most`` connections in parallel; a further one is closed before its handshake.

    An event loop notifies the protocol of a connection only once it is encrypted, so a client that never finishes its
    handshake would not be counted.

    Attributes:
        most: connections in a handshake or after it.
        encrypted: current number of connections.
    """

    most: int = 0
    encrypted: int = 0

    def wrap_bio(self, *arguments: Any, **keywords: Any) -> ssl.SSLObject:
        """Wrap a new connection; the event loop drops the object when the connection closes.

        Raises:
            ConnectionRefusedError: the limit is reached; event loops close the connection on this error.
        """
        if self.encrypted >= self.most:
            raise ConnectionRefusedError("no room for another handshake")
        made = super().wrap_bio(*arguments, **keywords)
        self.encrypted += 1
        weakref.finalize(made, self._forget)
        return made

    def _forget(self) -> None:
        self.encrypted -= 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """Files in PEM format.

    Attributes:
        cert: the service's certificate, followed by those that signed it.
        key: its private key; may be the same file.
        client_ca: authorities of client certificates, which are then required; None: clients need no certificate.
        password: of the key, if it is encrypted.
        max_connections: see ``CountingContext``.
    """

    cert: Path
    key: Path
    client_ca: Path | None = None
    password: str | None = field(default=None, repr=False)
    max_connections: int = 4_096

    def context(self) -> ssl.SSLContext:
        """The context for HTTP. TLS 1.2 at least. A connection counts from the first byte of its handshake.

        Raises:
            OSError: a file cannot be read, is not PEM, or the key does not fit; includes ``ssl.SSLError``.
        """
        context = CountingContext(ssl.PROTOCOL_TLS_SERVER)
        context.most = self.max_connections + HANDSHAKES
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        # A function: without a password OpenSSL would prompt for it in the terminal.
        context.load_cert_chain(self.cert, self.key, lambda: self.password or "")
        if self.client_ca is not None:
            context.load_verify_locations(self.client_ca)
            context.verify_mode = ssl.CERT_REQUIRED
        return context

    @property
    def fault(self) -> str:
        """The problem with the files and how to fix it; empty if no problem is known.

        OpenSSL's own errors name the problem only in part and never the file or the fix.
        """
        files = [("--tls-cert", self.cert, b"CERTIFICATE"), ("--tls-key", self.key, b"PRIVATE KEY")]
        if self.client_ca is not None:
            files.append(("--tls-client-ca", self.client_ca, b"CERTIFICATE"))
        for flag, path, kind in files:
            try:
                text = read_file(path, FILE_LIMIT_BYTES)
            except (OSError, ServingError) as error:
                return f"{flag} {path} cannot be read: {getattr(error, 'strerror', None) or error}"
            if not re.search(rb"-----BEGIN [A-Z ]*" + kind + rb"-----", text):
                what = "private key" if kind == b"PRIVATE KEY" else "certificate"
                more = "; give --tls-key the file that has it" if path == self.cert and flag == "--tls-key" else ""
                return f"{flag} {path} holds no {what} in PEM{more}"
            if flag == "--tls-key" and b"ENCRYPTED" in text and not self.password:
                return f"--tls-key {path} is encrypted; set ATELIER_TLS_KEY_PASSWORD to its password"
        try:
            self.context()
        except ssl.SSLError as error:
            if error.reason == "KEY_VALUES_MISMATCH":
                return f"--tls-key {self.key} does not belong to --tls-cert {self.cert}"
            return f"TLS with --tls-cert {self.cert} and --tls-key {self.key} is not possible: {error}"
        return ""

    def parts(self) -> tuple[bytes, bytes, bytes | None]:
        """Key, certificate and client authorities, for gRPC. Raises as ``read_file`` does."""
        client_ca = None if self.client_ca is None else read_file(self.client_ca, FILE_LIMIT_BYTES)
        return read_file(self.key, FILE_LIMIT_BYTES), read_file(self.cert, FILE_LIMIT_BYTES), client_ca
