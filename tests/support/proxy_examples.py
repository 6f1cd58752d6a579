"""The examples of deploy/proxies, run with the real programs in front of a service of a test."""

import os
import re
import shutil
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from tests.support.certificates import Certificates
from tests.support.proxies import NGINX, free_port
from tests.support.service import ROOT, wait_until

ENVOY = ROOT / "build/envoy-venv"
"""Where ``make test`` installs Envoy, which Debian does not have."""
EXAMPLES = ROOT / "deploy/proxies"
FILES = {"nginx": "nginx.conf", "haproxy": "haproxy.cfg", "caddy": "Caddyfile", "envoy": "envoy.yaml"}


class Proxy:
    """A running proxy.

    Attributes:
        port: that it listens on.
        client: of HTTP, which trusts its certificate.
        ca: the certificate of its authority.
    """

    def __init__(self, port: int, ca: Path) -> None:
        self.port, self.ca = port, ca
        self.client = httpx.Client(
            base_url=f"https://localhost:{port}", verify=ssl.create_default_context(cafile=str(ca)), timeout=30
        )


def program(name: str) -> str | None:
    """The path of a proxy's program; None if it is not installed."""
    if name == "envoy":
        found = ENVOY.glob("lib/python3*/site-packages/envoy/_bin/envoy")
        return next(map(str, found), None)
    return shutil.which(name)


def adapted(name: str, certificates: Certificates, *, port: int, http: int, grpc: int) -> str:
    """The text of an example with the names, ports and files of a test in place of its own; each must be there."""
    cert, key = certificates.signed("proxy")
    both = cert.with_suffix(".both")
    both.write_bytes(cert.read_bytes() + key.read_bytes())
    replaced = {
        r"\b443\b": str(port),
        r"\b127\.0\.0\.1:8000\b": f"127.0.0.1:{http}",
        r"\b127\.0\.0\.1:8001\b": f"127.0.0.1:{grpc}",
        r"\bport 8000\b": f"port {http}",
        r"\bport_value: 8000\b": f"port_value: {http}",
        r"\bport_value: 8001\b": f"port_value: {grpc}",
        r"/etc/atelier/tls/cert\.pem": str(cert),
        r"/etc/atelier/tls/key\.pem": str(key),
        r"/etc/atelier/tls/cert-and-key\.pem": str(both),
        r"\bmodels\.example\b": "localhost",
    }
    text = re.sub(r"(?m)^#.*\n", "", (EXAMPLES / FILES[name]).read_text(encoding="utf-8"))
    for old, new in replaced.items():
        text = re.sub(old, new, text)
    return text


@contextmanager
def running(name: str, directory: Path, certificates: Certificates, *, http: int, grpc: int) -> Iterator[Proxy]:
    """An example in front of a service.

    Args:
        name: of the proxy.
        directory: for its files.
        certificates: the authority that signs its certificate.
        http: port of the service.
        grpc: port of the service for gRPC.
    """
    port = free_port()
    example = directory / FILES[name]
    example.write_text(adapted(name, certificates, port=port, http=http, grpc=grpc), encoding="utf-8")
    if name == "nginx":
        whole = directory / "whole.conf"
        user = "user root root;" if os.geteuid() == 0 else ""
        whole.write_text(NGINX.format(user=user, directory=directory, http=f"include {example};"))
        command = ["-p", str(directory), "-e", "stderr", "-c", str(whole)]
    elif name == "haproxy":
        command = ["-f", str(example)]
    elif name == "envoy":
        command = ["-c", str(example), "--disable-hot-restart", "--concurrency", "1", "--log-level", "error"]
    else:
        # What is global: Caddy would otherwise listen on ports 80 and 2019 too.
        example.write_text("{\n\tadmin off\n\tauto_https disable_redirects\n}\n" + example.read_text())
        command = ["run", "--config", str(example), "--adapter", "caddyfile"]
    path = program(name)
    assert path is not None
    environment = {**os.environ, **dict.fromkeys(("HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME"), str(directory))}
    log = (directory / "log").open("w+")
    process = subprocess.Popen([path, *command], stdout=log, stderr=log, env=environment)
    proxy = Proxy(port, certificates.ca)
    try:
        wait_until(lambda: process.poll() is not None or _serves(proxy))
        assert process.poll() is None, (directory / "log").read_text()
        yield proxy
    finally:
        proxy.client.close()
        process.terminate()
        process.wait(30)
        log.close()


def _serves(proxy: Proxy) -> bool:
    try:
        return proxy.client.get("/v2/health/live").status_code == 200
    except httpx.TransportError:
        return False
