"""Ray Serve: one replica, ``serve.batch``, and the throughput settings of its documentation (servers.py)."""

import signal
import threading
from typing import Any

import numpy as np
import ray
from network import MAX_BATCH_SIZE, Network, port, serves_texts
from ray import serve
from starlette.requests import Request

BATCH_WAIT_S = 0.005


@serve.deployment(num_replicas=1, max_ongoing_requests=256, ray_actor_options={"num_cpus": 0.1})
class Peer:
    """Images, as JSON or bytes, and texts."""

    def __init__(self) -> None:
        self.network = Network()
        self.texts = serves_texts()

    @serve.batch(max_batch_size=MAX_BATCH_SIZE, batch_wait_timeout_s=BATCH_WAIT_S)
    async def predict(self, inputs: list[Any]) -> list[list[float]]:
        """A row of probabilities each."""
        return (self.network.texts(inputs) if self.texts else self.network.images(np.stack(inputs))).tolist()

    async def __call__(self, request: Request) -> dict[str, list[float]]:
        """One instance per request."""
        if self.texts:
            one: Any = (await request.json())["text"]
        elif request.headers.get("content-type") == "application/octet-stream":
            one = np.frombuffer(await request.body(), np.uint8).reshape(28, 28)
        else:
            one = np.array((await request.json())["image"], np.uint8)
        return {"probabilities": await self.predict(one)}


if __name__ == "__main__":
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    ray.init(num_cpus=4, include_dashboard=False, log_to_driver=False, object_store_memory=100 * 2**20)
    serve.start(http_options={"host": "127.0.0.1", "port": port()}, logging_config={"enable_access_log": False})
    serve.run(Peer.bind(), route_prefix="/predict")
    stop.wait()
    serve.shutdown()
    ray.shutdown()
