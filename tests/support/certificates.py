"""Certificates of one test run, made by the openssl command."""

import subprocess
from pathlib import Path


class Certificates:
    """A certificate authority, and the certificates that it has signed.

    Args:
        directory: for the files.

    Attributes:
        ca: certificate of the authority.
        stranger: that of another one.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.ca = self._authority("ca")
        self.stranger = self._authority("stranger")

    def signed(self, name: str, *, by: str = "ca", days: int = 2) -> tuple[Path, Path]:
        """Certificate and key for localhost and 127.0.0.1, expired if ``days`` is negative."""
        request, extensions = self._directory / f"{name}.csr", self._directory / f"{name}.ext"
        cert, key = self._directory / f"{name}.crt", self._directory / f"{name}.key"
        extensions.write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\nbasicConstraints=CA:FALSE\n")
        self._openssl("req", "-new", *self._new_key(key), "-subj", f"/CN={name}", "-out", request)
        authority = ["-CA", self._directory / f"{by}.crt", "-CAkey", self._directory / f"{by}.key", "-CAcreateserial"]
        self._openssl(
            "x509", "-req", "-in", request, *authority, "-days", str(days), "-extfile", extensions, "-out", cert
        )
        return cert, key

    def encrypted(self, key: Path, password: str) -> Path:
        """A key, encrypted."""
        made = key.with_suffix(".encrypted")
        self._openssl("pkey", "-in", key, "-aes256", "-passout", f"pass:{password}", "-out", made)
        return made

    def _authority(self, name: str) -> Path:
        cert = self._directory / f"{name}.crt"
        key = self._new_key(self._directory / f"{name}.key")
        usage = ["-addext", "keyUsage=critical,keyCertSign,cRLSign"]
        self._openssl("req", "-x509", *key, "-subj", f"/CN={name}", "-days", "2", *usage, "-out", cert)
        return cert

    @staticmethod
    def _new_key(path: Path) -> list[str | Path]:
        return ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", path]

    @staticmethod
    def _openssl(*arguments: str | Path) -> None:
        subprocess.run(["openssl", *arguments], check=True, capture_output=True)
