"""Behind nginx and HAProxy with typical first configurations."""

import re
import shutil

import httpx
import pytest

from tests.support.proxies import haproxy, nginx
from tests.support.service import Service
from tests.support.tiny_models import SIDE

LOAD = "/v2/repository/models/brightness/load"
PREDICT = "/v1/models/brightness:predict"
IMAGE = bytes(SIDE * SIDE)
OCTETS = {"content-type": "application/octet-stream"}
PROXIES = {
    "nginx": (nginx, "proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;"),
    "haproxy": (haproxy, "option forwardfor"),
}

pytestmark = [
    pytest.mark.skipif(not shutil.which("nginx"), reason="nginx is not installed (Debian package nginx-light)"),
    pytest.mark.skipif(not shutil.which("haproxy"), reason="haproxy is not installed (Debian package haproxy)"),
]


@pytest.fixture(scope="module")
def keyless(models):
    """A service as it is started by default, and its log."""
    service = Service(models, "--log-level", "debug")
    yield service
    assert service.stop() == 0


@pytest.mark.parametrize("name", PROXIES)
def test_a_proxy_without_forwarded_headers_looks_like_a_local_caller(keyless, tmp_path, name):
    """The reason for --admin off and --admin-bind. HAProxy forwards the client's Host, nginx sends the service's."""
    proxy, _ = PROXIES[name]
    with proxy(tmp_path, keyless.url) as url:
        assert httpx.post(url + PREDICT, content=IMAGE, headers=OCTETS).status_code == 200
        assert httpx.post(url + LOAD, timeout=30).status_code == 200
        foreign = httpx.post(url + LOAD, headers={"host": "models.example"}, timeout=30)
        assert foreign.status_code == (200 if name == "nginx" else 403)


@pytest.mark.parametrize("name", PROXIES)
def test_a_proxy_that_names_its_client_is_refused_on_admin_routes(keyless, tmp_path, name):
    proxy, extra = PROXIES[name]
    with proxy(tmp_path, keyless.url, extra) as url:
        assert httpx.post(url + PREDICT, content=IMAGE, headers=OCTETS).status_code == 200
        refused = httpx.post(url + LOAD)
        assert refused.status_code == 403
        assert "came through a proxy: it has 'x-forwarded-for'" in refused.json()["error"]


@pytest.mark.parametrize("flags", [("--admin", "off"), ("--admin-bind", "127.0.0.1:0")], ids=["off", "bind"])
def test_admin_off_and_a_separate_listener_close_the_admin_routes_behind_any_proxy(models, tmp_path, start, flags):
    service = start(models, *flags)
    for name, (proxy, _) in PROXIES.items():
        (tmp_path / name).mkdir()
        with proxy(tmp_path / name, service.url) as url:
            assert httpx.post(url + PREDICT, content=IMAGE, headers=OCTETS).status_code == 200
            assert httpx.post(url + LOAD).status_code == 403
            assert httpx.post(url + LOAD.replace("load", "unload")).status_code == 403
    if "--admin-bind" in flags:
        found = re.search(r"admin routes are answered at (\S+)", service.log)
        assert httpx.post(f"http://{found[1]}{LOAD}", timeout=30).status_code == 200


@pytest.mark.parametrize("name", PROXIES)
@pytest.mark.parametrize("megabytes", [17, 40])
def test_a_body_that_is_too_large_is_413_behind_a_proxy_and_no_502(keyless, tmp_path, name, megabytes):
    """nginx sends HTTP/1.0 requests and continues to send after the answer."""
    proxy, _ = PROXIES[name]
    with proxy(tmp_path, keyless.url) as url:
        for _ in range(3):
            reply = httpx.post(url + PREDICT, content=bytes(megabytes * 2**20), headers=OCTETS, timeout=30)
            assert reply.status_code == 413
            assert "at most 16777216 are accepted" in reply.json()["error"]


def test_with_unbuffered_bodies_nginx_gets_the_413_too(keyless, tmp_path):
    with nginx(tmp_path, keyless.url, "proxy_request_buffering off;") as url:
        reply = httpx.post(url + PREDICT, content=bytes(17 * 2**20), headers=OCTETS, timeout=30)
        assert reply.status_code == 413
