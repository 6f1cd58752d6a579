"""A real Prometheus that scrapes a service of a test."""

import json
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from contextlib import contextmanager

from tests.support.service import ROOT

CONFIGURATION = ROOT / "deploy/prometheus/prometheus.yml"


@contextmanager
def prometheus(directory, service, *, rules=False, flags=()):
    """Runs Prometheus with our configuration, every second; yields its port.

    Args:
        directory: for its files.
        service: that it scrapes.
        rules: whether it evaluates our rules, which are copied there.
        flags: further flags of Prometheus.
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
        *flags,
    ]
    with (directory / "log").open("w") as log, subprocess.Popen(command, stderr=log, stdout=log) as process:
        try:
            yield port
        finally:
            process.terminate()


def query(port, expression):
    """What an expression gives now; nothing while Prometheus starts."""
    return (_ask(port, "query", expression) or {"result": []})["result"]


def exemplars(port, expression):
    """The exemplars of the series of an expression in the last minute."""
    now = time.time()
    found = _ask(port, "query_exemplars", expression, start=now - 60, end=now + 60)
    return [exemplar for series in found for exemplar in series["exemplars"]]


def _ask(port, what, expression, **more):
    url = f"http://127.0.0.1:{port}/api/v1/{what}?" + urllib.parse.urlencode({"query": expression, **more})
    try:
        with urllib.request.urlopen(url) as reply:
            return json.load(reply)["data"]
    except urllib.error.HTTPError as error:
        error.close()
        return []
    except OSError:
        return []
