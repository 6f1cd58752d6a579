"""A real Prometheus that scrapes a service of a test."""

import json
import socket
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from contextlib import contextmanager

from tests.support.service import ROOT

CONFIGURATION = ROOT / "deploy/prometheus/prometheus.yml"


@contextmanager
def prometheus(directory, service, *, rules=False):
    """Runs Prometheus with our configuration, every second; yields its port.

    Args:
        directory: for its files.
        service: that it scrapes.
        rules: whether it evaluates our rules, which are copied there.
    """
    address = service.url.removeprefix("http://")
    text = CONFIGURATION.read_text().replace("127.0.0.1:8000", address).replace("5s", "1s")
    assert address in text
    if rules:
        text = text.replace("rules/*.yml", str(CONFIGURATION.parent / "rules/*.yml"))
    (directory / "prometheus.yml").write_text(text)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [
        "prometheus",
        f"--config.file={directory / 'prometheus.yml'}",
        f"--storage.tsdb.path={directory / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with (directory / "log").open("w") as log, subprocess.Popen(command, stderr=log, stdout=log) as process:
        try:
            yield port
        finally:
            process.terminate()


def query(port, expression):
    """What an expression gives now; nothing while Prometheus starts."""
    url = f"http://127.0.0.1:{port}/api/v1/query?" + urllib.parse.urlencode({"query": expression})
    try:
        with urllib.request.urlopen(url) as reply:
            return json.load(reply)["data"]["result"]
    except urllib.error.HTTPError as error:
        error.close()
        return []
    except OSError:
        return []
