"""What must hold for the image; each function is one check, and its first line says what it checks."""

import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import httpx

from app import __version__
from tests.image.container import Image
from tests.support.service import ROOT
from tests.support.web_directory import web_directory

# MB of each image; only that of the service without TensorFlow is kept small, the others are what their libraries are.
LIMITS_MB = {"cpu": 450, "cpu-remote": 550, "cpu-savedmodel": 2_500, "gpu": 6_000, "training": 3_200}
PROGRAMS = ("usr/bin", "usr/local/bin")
COMPILERS = ("cc", "gcc", "g++", "c++", "clang", "tcc", "ld", "make")
LABELS = ("title", "description", "licenses", "version", "revision")
PREDICT = "/v1/models/fashion-mnist-mlp:predict"
BODY = (ROOT / "docs/examples/boot.json").read_bytes()
CLIENTS, DRAIN_S = 8, 2
NON_ROOT = 1000
"""Smallest user id that is not one of the system."""


def it_is_small(image: Image) -> str:
    """Within its size, without compilers, pip or setuptools"""
    size = sum(path.lstat().st_size for path in image.root.rglob("*") if not path.is_dir() or path.is_symlink())
    found = [path for path in COMPILERS for place in PROGRAMS if (image.root / place / path).exists()]
    assert not found, found
    [packages] = (image.root / "opt/atelier/lib").glob("python3*/site-packages")
    unwanted = ("pip",) if (packages / "tensorflow").exists() else ("pip", "setuptools")  # TensorFlow imports it
    assert not [name for name in unwanted if (packages / name).exists()]
    assert size <= LIMITS_MB[image.name] * 1e6, f"{size / 1e6:.0f} MB"
    return f"passes, {size / 1e6:.0f} MB"


def it_is_described(image: Image) -> None:
    """Labels and a user who is not root are stated"""
    stated = image.configuration
    for label in LABELS:
        assert stated["Labels"][f"org.opencontainers.image.{label}"], label
    assert stated["Labels"]["org.opencontainers.image.version"] == __version__
    assert all(int(number) >= NON_ROOT for number in stated["User"].split(":")), stated["User"]


def it_says_how_it_serves(image: Image) -> None:
    """SIGTERM and the port are stated"""
    stated = image.configuration
    assert stated["StopSignal"] in ("SIGTERM", "15")
    assert list(stated["ExposedPorts"]) == ["8000/tcp"]


def nothing_but_tmp_is_written(image: Image) -> None:
    """The service starts on a file system to read only, as its user, and answers"""
    assert "Read-only file system" in image.run("python", "-c", "open('/atelier/x', 'w')").stderr
    with image.serving() as (url, process):
        status = Path(f"/proc/{process.pid}/status").read_text()
        assert f"\nUid:\t{image.configuration['User'].split(':')[0]}\t" in status
        reply = httpx.post(url + PREDICT, content=BODY)
        assert reply.status_code == 200, reply.text
        assert max(range(10), key=reply.json()["predictions"][0].__getitem__) == 9
        for path in ("", "docs", "metrics", "v1/models"):
            page = httpx.get(f"{url}/{path}", headers={"Accept": "text/html"})
            assert page.status_code == 200, f"/{path}: {page.text}"
        devices = image.run("atelier", "devices")
        assert devices.returncode == 0, devices.stderr


def its_health_is_seen(image: Image) -> None:
    """The command of HEALTHCHECK ends with 0 while it serves, and with 1 without a service"""
    with image.serving() as (url, _):
        assert image.health(url) == 0
    assert image.health(url) == 1


def it_drains(image: Image) -> str:
    """SIGTERM under load: it is not ready at once, answers until a load balancer has noticed, and ends with 0"""
    outcomes: Counter[object] = Counter()
    noticed, context = threading.Event(), ssl.create_default_context()

    def ask() -> None:
        while not noticed.is_set():
            try:
                outcomes[httpx.post(url + PREDICT, content=BODY, timeout=30, verify=context).status_code] += 1
            except httpx.TransportError as error:
                outcomes[repr(error)] += 1

    with image.serving("--workers", "2", ATELIER_DRAIN_DELAY_S=DRAIN_S) as (url, process):
        threads = [threading.Thread(target=ask) for _ in range(CLIENTS)]
        for thread in threads:
            thread.start()
        time.sleep(1)
        before = outcomes[200]
        process.terminate()
        time.sleep(DRAIN_S / 2)  # between two probes of a load balancer
        ready = httpx.get(f"{url}/v2/health/ready", verify=context).status_code
        noticed.set()
        for thread in threads:
            thread.join(40)
        code = process.wait(40)
    assert (ready, code) == (503, 0), (ready, code)
    assert set(outcomes) == {200}, outcomes
    assert outcomes[200] > before > 0, outcomes
    return f"passes, {outcomes[200] - before} answers after the signal, none failed"


def it_runs_savedmodels(image: Image) -> str:
    """TensorFlow answers what ONNX Runtime answers, within 1e-5"""
    answers = []
    for backend, platform in (("onnx", "onnxruntime_onnx"), ("savedmodel", "tensorflow_savedmodel")):
        with image.serving("--backend", backend) as (url, _):
            answers.append(httpx.post(url + PREDICT, content=BODY, timeout=60).json()["predictions"][0])
            assert httpx.get(f"{url}/v2/models/fashion-mnist-mlp").json()["platform"] == platform
    difference = max(abs(one - other) for one, other in zip(*answers, strict=True))
    assert difference <= 1e-5, difference
    return f"passes, largest difference {difference:.1e}"


def it_copies_models(image: Image) -> None:
    """Models of a web server are copied and served"""
    with web_directory(ROOT / "models") as web:
        variables = {"ATELIER_MODELS_DIR": web.url, "ATELIER_MIRROR_DIR": "/tmp/mirror"}
        with image.serving(**variables) as (url, _):
            reply = httpx.post(url + PREDICT, content=BODY)
    assert reply.status_code == 200, reply.text
    assert any(path.endswith("/model.onnx") for path in web.asked)


def it_has_cuda(image: Image) -> str:
    """ONNX Runtime is the build for CUDA, and the libraries that it loads are in the image"""
    program = (
        "import onnxruntime; onnxruntime.preload_dlls(); print(onnxruntime.get_available_providers());"
        "print(open('/proc/self/maps').read())"
    )
    ended = image.run("python", "-c", program)
    for expected in ("CUDAExecutionProvider", "/libcudnn.so", "/libcublas.so"):
        assert expected in ended.stdout, f"{expected}: {ended.stdout[:2000]}{ended.stderr}"
    return "passes; no GPU was there, so that it served on the CPU"


def it_trains(image: Image) -> None:
    """atelier-training trains and publishes a model, with a file system to read only"""
    trained = image.run(
        *image.configuration["Entrypoint"],
        *("run", "hello-world", "--publish", "--models-dir", "/tmp/models", "--runs", "/tmp/runs"),
    )
    assert trained.returncode == 0, trained.stdout + trained.stderr


SERVES = (it_says_how_it_serves, nothing_but_tmp_is_written, its_health_is_seen, it_drains)
# Of each target of the Dockerfile.
CHECKS: dict[str, tuple[Callable[[Image], str | None], ...]] = {
    "cpu": (it_is_small, it_is_described, *SERVES),
    "cpu-remote": (it_is_small, it_is_described, *SERVES, it_copies_models),
    "cpu-savedmodel": (it_is_small, it_is_described, *SERVES, it_runs_savedmodels),
    "gpu": (it_is_small, it_is_described, *SERVES, it_has_cuda),
    "training": (it_is_small, it_is_described, it_trains),
}
