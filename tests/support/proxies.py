"""nginx and HAProxy as a distribution ships them, with a configuration of a few lines in front of a service."""

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

NGINX = """
{user} daemon off; pid {directory}/nginx.pid; error_log stderr error; worker_processes 1;
events {{ worker_connections 64; }}
http {{
    access_log off;
    client_body_temp_path {directory}/body; proxy_temp_path {directory}/proxy; fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi; scgi_temp_path {directory}/scgi;
    {http}
}}
"""
"""nginx.conf with places that a test may write."""
HAPROXY = """
global
    maxconn 64
defaults
    mode http
    timeout connect 5s
    timeout client 30s
    timeout server 30s
frontend public
    bind 127.0.0.1:{port}
    {extra}
    default_backend service
backend service
    server one {address}
"""


@contextmanager
def nginx(directory: Path, url: str, extra: str = "") -> Iterator[str]:
    """nginx in front of a service; yields its own URL.

    Args:
        directory: for its files.
        url: of the service.
        extra: further directives of the location.
    """
    port = free_port()
    configuration = directory / "nginx.conf"
    user = "user root root;" if os.geteuid() == 0 else ""  # started by root it would be one who may not write here
    server = f"server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass {url}; {extra} }} }}"
    http = f"client_max_body_size 0; {server}"
    configuration.write_text(NGINX.format(user=user, directory=directory, http=http))
    with _running(["nginx", "-p", str(directory), "-e", "stderr", "-c", str(configuration)], port) as own:
        yield own


@contextmanager
def haproxy(directory: Path, url: str, extra: str = "") -> Iterator[str]:
    """HAProxy in front of a service; yields its own URL. Arguments as for ``nginx``."""
    port = free_port()
    configuration = directory / "haproxy.cfg"
    configuration.write_text(HAPROXY.format(port=port, address=url.removeprefix("http://"), extra=extra))
    with _running(["haproxy", "-f", str(configuration)], port) as own:
        yield own


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@contextmanager
def _running(command: list[str], port: int) -> Iterator[str]:
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    url = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 30
        while not _answers(url):
            assert process.poll() is None, process.communicate()[1]
            assert time.monotonic() < deadline, f"{command[0]} does not answer"
            time.sleep(0.02)
        yield url
    finally:
        process.terminate()
        process.communicate(timeout=30)


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/v2/health/live").status_code == 200
    except httpx.TransportError:
        return False
