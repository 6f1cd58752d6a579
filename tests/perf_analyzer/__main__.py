"""Runs perf_analyzer in all its modes: ``python -m tests.perf_analyzer ENVIRONMENT``; ``make perf-analyzer`` calls it.

``ENVIRONMENT`` is a virtual environment with a tritonclient that has the program. Each mode must end with 0,
report a throughput, and have only answers with 200 in the metrics of the service; or be refused for the reason that is
expected. Prints a table, and ends with 1 if a mode does not.
"""

import shutil
import ssl
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from app.control.keys_file import add_key
from tests.perf_analyzer.files import write_inputs, write_models
from tests.perf_analyzer.modes import MODES
from tests.perf_analyzer.program import Program
from tests.support.certificates import Certificates
from tests.support.service import Service

KEYS = "keys.json"


def main(environment: Path) -> int:
    """The exit code: 1 if a mode fails."""
    with tempfile.TemporaryDirectory() as directory:
        place = Path(directory)
        models, files = place / "models", place / "files"
        models.mkdir()
        files.mkdir()
        key = add_key(files / KEYS, name="client", scopes=("infer",), rate=None)
        program = Program(environment, place=place, files=files, key=key)
        if fault := program.fault():
            print(f"{fault}perf_analyzer does not start; on Debian: apt install libb64-0d")  # noqa: T201
            return 1
        write_models(models)
        write_inputs(files)
        print("| mode | over | result |\n|---|---|---|")  # noqa: T201
        failed = 0
        with _service(models) as plain, _encrypted(models, files) as encrypted:
            plain.wait_until_ready()
            encrypted.wait_until_ready()
            for mode in MODES:
                for over in mode.over:
                    wrong = program.found(mode, over, encrypted if mode.encrypted else plain)
                    failed += wrong != ""
                    result = wrong or ("refused, as expected" if mode.refusal else "passes")
                    print(f"| {mode.name} | {over} | {result} |", flush=True)  # noqa: T201
    return int(failed > 0)


@contextmanager
def _service(models: Path, *arguments: str) -> Iterator[Service]:
    service = Service(models, "--grpc-port", "0", *arguments, wait_ready=False)
    try:
        yield service
    finally:
        code = service.stop()
    if code or "Traceback" in service.log:
        raise SystemExit(f"the service ended with {code}:\n{service.log}")


@contextmanager
def _encrypted(models: Path, files: Path) -> Iterator[Service]:
    """A service that requires TLS, certificates of clients and API keys; those of one client are among the files."""
    certificates = Certificates(files)
    (cert, key), client = certificates.signed("server"), certificates.signed("client")
    flags = ("--tls-cert", str(cert), "--tls-key", str(key), "--tls-client-ca", str(certificates.ca))
    flags = (*flags, "--api-keys-file", str(files / KEYS))
    only = files / "encrypted"
    shutil.copytree(models / "rule", only / "rule")
    trusted = ssl.create_default_context(cafile=certificates.ca)
    trusted.load_cert_chain(*client)
    with _service(only, *flags) as service:
        service.client.close()
        service.client = httpx.Client(base_url=service.url, verify=trusted, timeout=30)
        yield service


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]).absolute()))
