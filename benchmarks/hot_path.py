"""Cost of one request inside the application, stage by stage: without sockets and a client."""

import asyncio
import gc
import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from time import perf_counter, process_time
from typing import Any

from benchmarks.hot_path_connections import REQUESTS, over_connections
from benchmarks.serving.samples import IMAGE_MODEL, TEXT_MODEL, Samples, png

STAGES = ("read", "decode", "queue", "compute", "encode")
CONCURRENCY = (1, 32)


@dataclass(frozen=True)
class Budget:
    """Microseconds of one request in one form, on one way, at one concurrency.

    Attributes:
        way: "connection", as requests arrive that are one packet; or "ASGI", as large ones do.
        total: processor time of all threads per request.
        stages: elapsed, median; queue and compute are those of the request's batch, which several requests share.
    """

    form: str
    way: str
    concurrency: int
    total: float
    stages: dict[str, float]


class Stages:
    """Records the stages of every request, besides the metrics."""

    def __init__(self, metrics: Any) -> None:
        self._metrics = metrics
        self.seen: list[Any] = []

    def request_done(self, *, code: int, timings: Any, **others: Any) -> None:
        """Count a request; every one must have been answered."""
        if code != 200:
            raise RuntimeError(f"{others['protocol']} answered {code}")
        self._metrics.request_done(code=code, timings=timings, **others)
        self.seen.append(timings)

    def requests_answered(self, *, seconds: Any, timings: Any, **others: Any) -> None:
        """Count requests that were answered together."""
        self._metrics.requests_answered(seconds=seconds, timings=timings, **others)
        self.seen += [timings] * len(seconds)


def measure_hot_path(models: Path, *, repeats: int) -> list[Budget]:
    """Call the protocol of a connection, and the ASGI application, on uvicorn's event loop; medians of the repeats."""
    import uvloop

    return uvloop.run(_measure(models, repeats))


async def _measure(models: Path, repeats: int) -> list[Budget]:
    from app.edge.http.body import BodyLimits
    from app.edge.http.dispatch import Dispatch
    from app.lifecycle.draining import drain
    from app.main import create_app
    from app.settings import Settings

    settings = Settings(models_dir=models)
    app = create_app(settings)
    lifecycle = app.lifecycle
    registry = lifecycle.registry
    for name in (IMAGE_MODEL, TEXT_MODEL):
        await lifecycle.load_one(name, None)
    registry.loading = False
    stages = Stages(app.metrics)
    limits = BodyLimits(settings.body_limit_bytes, settings.json_fallback_limit_bytes)
    app.dispatch = Dispatch(
        door=app.door,
        registry=registry,
        limits=limits,
        decoding=app.decoding,
        explainer=app.explainer,
        observer=stages,
        clock=perf_counter,
    )
    ways = {"connection": partial(over_connections, app, settings), "ASGI": partial(_over_asgi, app.dispatch)}
    gc.collect()
    gc.freeze()
    budgets = []
    try:
        for form, requests in _forms(Samples(models, Path("runs/benchmarks"))).items():
            for way, ask_all in ways.items():
                for concurrency in CONCURRENCY:
                    times = [await _total(ask_all, requests, concurrency) for _ in range(repeats + 1)][1:]
                    medians = {name: 1e6 * median([getattr(seen, name) for seen in stages.seen]) for name in STAGES}
                    stages.seen.clear()
                    budgets.append(Budget(form, way, concurrency, 1e6 * median(times), medians))
    finally:
        await drain(registry, 1)
    return budgets


async def _total(ask_all: Any, requests: list[tuple[dict[str, Any], bytes]], concurrency: int) -> float:
    """Seconds of processor time per request."""
    began = process_time()
    await ask_all(requests, concurrency)
    return (process_time() - began) / REQUESTS


async def _over_asgi(dispatch: Any, requests: list[tuple[dict[str, Any], bytes]], concurrency: int) -> None:
    async def client(number: int) -> None:
        for i in range(number, REQUESTS, concurrency):
            await _ask(dispatch, *requests[i % len(requests)])

    await asyncio.gather(*(client(number) for number in range(concurrency)))


async def _ask(dispatch: Any, scope: dict[str, Any], body: bytes) -> None:
    given = False

    async def receive() -> dict[str, Any]:
        nonlocal given
        if given:
            await asyncio.Event().wait()  # the client stays
        given = True
        return {"type": "http.request", "body": body}

    async def send(_message: dict[str, Any]) -> None:
        pass

    await dispatch(scope, receive, send, _nothing)


async def _nothing(*_: Any) -> None:
    raise RuntimeError("no inference path")


def _forms(samples: Samples) -> dict[str, list[tuple[dict[str, Any], bytes]]]:
    """Requests by form: ASGI scopes and bodies."""
    images = samples.images[:64]
    head = {
        "inputs": [
            {"name": "pixels", "shape": [1, 28, 28], "datatype": "UINT8", "parameters": {"binary_data_size": 784}}
        ],
        "parameters": {"binary_data_output": True},
    }
    v2 = json.dumps(head).encode()
    length = (b"inference-header-content-length", str(len(v2)).encode())
    v1, octets = f"/v1/models/{IMAGE_MODEL}", (b"content-type", b"application/octet-stream")
    as_json = (b"content-type", b"application/json")
    texts = [json.dumps({"instances": [text]}).encode() for text in samples.texts]
    return {
        "raw bytes": [_request(f"{v1}:predict", image.tobytes(), octets) for image in images],
        "V2 binary": [_request(f"/v2/models/{IMAGE_MODEL}/infer", v2 + image.tobytes(), length) for image in images],
        "V1 JSON": [
            _request(f"{v1}:predict", json.dumps({"instances": [image.tolist()]}).encode(), as_json) for image in images
        ],
        "PNG, :classify": [_request(f"{v1}:classify", png(image), (b"content-type", b"image/png")) for image in images],
        "sentence": [_request(f"/v1/models/{TEXT_MODEL}:predict", text, as_json) for text in texts],
    }


def _request(path: str, body: bytes, header: tuple[bytes, bytes]) -> tuple[dict[str, Any], bytes]:
    headers = [(b"host", b"localhost"), header, (b"content-length", str(len(body)).encode())]
    return {"type": "http", "method": "POST", "path": path, "query_string": b"", "headers": headers}, body
