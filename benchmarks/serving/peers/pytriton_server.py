"""Triton through PyTriton: its HTTP front end and dynamic batcher, and a Python callable around the network.

PyTriton has only Triton's Python backend, so this is not Triton's own ONNX Runtime backend.
"""

import socket
from typing import Any

import numpy as np
from network import Network, port, serves_texts
from pytriton.decorators import batch
from pytriton.model_config import DynamicBatcher, ModelConfig, Tensor
from pytriton.triton import Triton, TritonConfig

MAX_BATCH_SIZE = 256  # a client may send this many rows at once; the batcher takes all queued rows, without delay

network = Network()


@batch
def images(pixels: Any) -> Any:
    """(rows, 28, 28) to (rows, 10)."""
    return [network.images(pixels)]


@batch
def texts(text: Any) -> Any:
    """(rows, 1) of bytes to (rows, 2)."""
    return [network.texts([one.decode() for one in text[:, 0]])]


def free_port() -> int:
    """A free port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    config = TritonConfig(
        http_address="127.0.0.1",
        http_port=port(),
        grpc_port=free_port(),
        allow_metrics=False,
        log_verbose=0,
    )
    with Triton(config=config) as triton:
        triton.bind(
            model_name="peer",
            infer_func=texts if serves_texts() else images,
            inputs=[
                Tensor(name="text", dtype=bytes, shape=(1,))
                if serves_texts()
                else Tensor(name="pixels", dtype=np.uint8, shape=(28, 28))
            ],
            outputs=[Tensor(name="probabilities", dtype=np.float32, shape=(-1,))],
            config=ModelConfig(max_batch_size=MAX_BATCH_SIZE, batcher=DynamicBatcher()),
            strict=False,
        )
        triton.serve()
