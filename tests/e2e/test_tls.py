"""TLS and certificates of clients, for HTTP and gRPC."""

import re
import socket
import ssl
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager

import grpc
import httpx
import pytest
import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException

from app.edge.entry.tls import HANDSHAKES
from tests.support.certificates import Certificates
from tests.support.grpc_requests import pixels
from tests.support.service import ROOT, Service, own_environment, running, wait_until
from tests.support.tiny_models import SIDE

PREDICT = "/v1/models/brightness:predict"
IMAGE = bytes(SIDE * SIDE)
OCTETS = {"content-type": "application/octet-stream"}
PASSWORD = "the-keys-password"


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def server(certificates):
    """Certificate and key of the service."""
    return certificates.signed("server")


def flags(server, *more):
    return ("--tls-cert", str(server[0]), "--tls-key", str(server[1]), *map(str, more))


@pytest.fixture(scope="module", params=["1", "2"], ids=["one process", "workers"])
def encrypted(request, models, server):
    yield from running(
        Service(models, *flags(server), "--grpc-port", "0", "--workers", request.param, wait_ready=False)
    )


@pytest.fixture(scope="module")
def mutual(models, server, certificates):
    yield from running(
        Service(models, *flags(server, "--tls-client-ca", certificates.ca), "--grpc-port", "0", wait_ready=False)
    )


def context(ca, client=None):
    made = ssl.create_default_context(cafile=ca)
    if client is not None:
        made.load_cert_chain(*client)
    return made


@contextmanager
def client_of(service, ca, client=None):
    with httpx.Client(base_url=service.url, verify=context(ca, client), timeout=30) as opened:
        wait_until(lambda: opened.get("/v2/health/ready").status_code == 200)
        yield opened


def address(service):
    host, port = re.fullmatch(r"https://(.+):(\d+)", service.url).groups()
    return host, int(port)


def grpc_client(service, ca, client=None):
    port = re.search(r"gRPC listens on \S+:(\d+)", service.log)[1]
    files = {"private_key": str(client[1]), "certificate_chain": str(client[0])} if client else {}
    return triton.InferenceServerClient(f"localhost:{port}", ssl=True, root_certificates=str(ca), **files)


def test_both_protocols_are_encrypted(encrypted, certificates):
    with client_of(encrypted, certificates.ca) as client:
        assert client.post(PREDICT, content=IMAGE, headers=OCTETS).status_code == 200
        assert client.post(PREDICT, content=bytes(200_000), headers=OCTETS).status_code == 413
    with grpc_client(encrypted, certificates.ca) as client:
        assert client.infer("brightness", pixels()).as_numpy("probabilities").shape == (5, 2)
    with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
        httpx.get(encrypted.url + "/v2/health/live", verify=context(certificates.stranger))


def test_plain_text_on_a_tls_port_gets_no_answer(encrypted):
    with pytest.raises(httpx.TransportError):
        httpx.get(encrypted.url.replace("https", "http") + "/v2/health/live")


def test_a_refusal_arrives_although_the_client_keeps_sending(encrypted, certificates):
    """Over TLS no side can be closed alone."""
    with client_of(encrypted, certificates.ca) as client:
        for _ in range(3):
            reply = client.post(PREDICT, content=bytes(20 * 2**20), headers=OCTETS)
            assert reply.status_code == 413
            assert reply.headers["connection"] == "close"


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_client_that_does_not_read_does_not_delay_the_shutdown(models, server, certificates, workers):
    service = Service(models, *flags(server), "--workers", workers, wait_ready=False)
    trusted = context(certificates.ca)
    with (
        client_of(service, certificates.ca),
        socket.create_connection(address(service)) as line,
        trusted.wrap_socket(line, server_hostname="localhost") as idle,
    ):
        idle.sendall(b"GET /v2/health/live HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert idle.recv(1)
        began = time.monotonic()
        assert service.stop() == 0
        assert time.monotonic() - began < 25


def test_tls_below_1_2_is_refused(encrypted, certificates):
    old = context(certificates.ca)
    old.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1"):
        old.minimum_version = ssl.TLSVersion.TLSv1
    with pytest.warns(DeprecationWarning, match="TLSv1"):
        old.maximum_version = ssl.TLSVersion.TLSv1_1
    with socket.create_connection(address(encrypted)) as line, pytest.raises((ssl.SSLError, OSError)):
        old.wrap_socket(line, server_hostname="localhost")
    new = context(certificates.ca)
    with (
        socket.create_connection(address(encrypted)) as line,
        new.wrap_socket(line, server_hostname="localhost") as tls,
    ):
        assert tls.version() == "TLSv1.3"


def test_a_client_without_a_valid_certificate_is_refused(mutual, certificates):
    known, unknown = certificates.signed("client"), certificates.signed("other", by="stranger")
    with client_of(mutual, certificates.ca, known) as client:
        assert client.post(PREDICT, content=IMAGE, headers=OCTETS).status_code == 200
    with grpc_client(mutual, certificates.ca, known) as client:
        assert client.infer("brightness", pixels()).as_numpy("probabilities").shape == (5, 2)
    for given in (None, unknown, certificates.signed("late", days=-1)):
        with (
            httpx.Client(verify=context(certificates.ca, given)) as client,
            pytest.raises(httpx.TransportError),
        ):
            client.get(mutual.url + "/v2/health/live")
        with grpc_client(mutual, certificates.ca, given) as client, pytest.raises(InferenceServerException) as refused:
            client.is_server_live()
        assert refused.value.status() == str(grpc.StatusCode.UNAVAILABLE)


def test_an_encrypted_key_needs_its_password_which_is_never_logged(models, server, certificates, start):
    key = certificates.encrypted(server[1], PASSWORD)
    service = start(
        models,
        *flags((server[0], key)),
        "--log-level",
        "debug",
        wait_ready=False,
        environment={"ATELIER_TLS_KEY_PASSWORD": PASSWORD},
    )
    with client_of(service, certificates.ca):
        pass
    assert PASSWORD not in service.log
    with pytest.raises(AssertionError, match="gRPC cannot read encrypted keys"):
        Service(
            models, *flags((server[0], key)), "--grpc-port", "0", environment={"ATELIER_TLS_KEY_PASSWORD": PASSWORD}
        )


def test_files_that_do_not_fit_are_a_mistake_at_start(models, server, certificates):
    other = certificates.signed("another")
    encrypted = certificates.encrypted(server[1], PASSWORD)
    for cert, key, ca, reason in (
        (server[0], other[1], certificates.ca, f"--tls-key {other[1]} does not belong to --tls-cert {server[0]}"),
        (models / "none.crt", server[1], certificates.ca, "none.crt cannot be read: No such file or directory"),
        (server[0], encrypted, certificates.ca, "is encrypted; set ATELIER_TLS_KEY_PASSWORD to its password"),
        (server[0], server[1], server[1], f"--tls-client-ca {server[1]} holds no certificate in PEM"),
        (server[0], server[0], certificates.ca, f"--tls-key {server[0]} holds no private key in PEM; give --tls-key"),
        (server[1], server[0], certificates.ca, f"--tls-cert {server[1]} holds no certificate in PEM"),
        (ROOT / "README.md", server[1], certificates.ca, "README.md holds no certificate in PEM"),
    ):
        command = [sys.executable, "-m", "app", "serve", "--models-dir", str(models), "--port", "0"]
        started = subprocess.run(
            [*command, *flags((cert, key), "--tls-client-ca", ca)],
            cwd=ROOT,
            env=own_environment(),
            capture_output=True,
            check=False,
            text=True,
            timeout=30,
        )
        assert started.returncode == 2
        assert reason in " ".join(started.stderr.split())
        assert "Traceback" not in started.stderr


def test_connections_count_from_their_handshake_on(models, server, certificates):
    """Clients that never finish a handshake block one another, not the served clients."""
    bounds = {"ATELIER_MAX_CONNECTIONS": "8", "ATELIER_HEAD_TIMEOUT_S": "2"}
    service = Service(models, *flags(server), wait_ready=False, environment=bounds)
    with client_of(service, certificates.ca) as client, ExitStack() as opened:
        lines = [opened.enter_context(socket.create_connection(address(service))) for _ in range(200)]
        wait_until(lambda: sum(is_closed(line) for line in lines) >= 200 - (8 + HANDSHAKES))
        assert client.get("/v2/health/live").status_code == 200
        assert sum(is_closed(line) for line in lines) <= 200 - HANDSHAKES
        wait_until(lambda: is_let_in(service, certificates.ca))  # once the handshakes have timed out
    assert service.stop() == 0
    assert "Traceback" not in service.log


def is_closed(line):
    """Whether the service has closed a connection on which it never sends."""
    line.setblocking(False)
    try:
        return line.recv(1) == b""
    except BlockingIOError:
        return False
    except ConnectionResetError:
        return True


def is_let_in(service, ca):
    try:
        return httpx.get(service.url + "/v2/health/live", verify=context(ca)).status_code == 200
    except httpx.ConnectError:
        return False


def test_a_grpc_client_that_never_finishes_its_handshake_is_disconnected_in_time(models, server):
    """gRPC's own limit is two minutes."""
    flags_ = (*flags(server), "--grpc-port", "0")
    service = Service(models, *flags_, wait_ready=False, environment={"ATELIER_HEAD_TIMEOUT_S": "1"})
    found = re.search(r"gRPC listens on \S+:(\d+)", service.log)
    with socket.create_connection(("127.0.0.1", int(found[1])), timeout=20) as line:
        line.sendall(b"\x16\x03\x01\x02\x00\x01")
        assert line.recv(100) == b""
    assert service.stop() == 0
