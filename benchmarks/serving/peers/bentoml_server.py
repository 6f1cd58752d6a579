"""BentoML: one worker, adaptive batching on. Started by ``bentoml serve bentoml_server:Peer``."""

import bentoml
import numpy as np
from network import MAX_BATCH_SIZE, Network

MAX_LATENCY_MS = 1000
"""The latency goal of its dispatcher, which drops requests that would exceed it."""


@bentoml.service(workers=1, traffic={"timeout": 60}, logging={"access": {"enabled": False}})
class Peer:
    """Images and texts."""

    def __init__(self) -> None:
        self.network = Network()

    @bentoml.api(batchable=True, batch_dim=0, max_batch_size=MAX_BATCH_SIZE, max_latency_ms=MAX_LATENCY_MS)
    def predict(self, images: np.ndarray) -> np.ndarray:
        """Images (rows, 28, 28)."""
        return self.network.images(images.astype(np.uint8))

    @bentoml.api(batchable=True, batch_dim=0, max_batch_size=MAX_BATCH_SIZE, max_latency_ms=MAX_LATENCY_MS)
    def texts(self, texts: list[str]) -> np.ndarray:
        """Sentences."""
        return self.network.texts(texts)
