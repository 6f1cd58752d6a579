"""LitServe: batching and the ZeroMQ queue on, one worker, one API server, as in its documentation."""

from typing import Any

import litserve
import numpy as np
from network import MAX_BATCH_SIZE, Network, port, serves_texts

BATCH_TIMEOUT_S = 0.005


class Api(litserve.LitAPI):
    """Decode, batch, predict, unbatch, encode."""

    def setup(self, device: str) -> None:
        """Load the network in the worker."""
        self.network = Network()
        self.texts = serves_texts()

    def decode_request(self, request: dict[str, Any]) -> Any:
        """One image or text per request."""
        return request["text"] if self.texts else np.array(request["image"], np.uint8)

    def batch(self, inputs: list[Any]) -> Any:
        """Texts stay a list, images are stacked."""
        return inputs if self.texts else np.stack(inputs)

    def predict(self, inputs: Any) -> Any:
        """A row of probabilities each."""
        return self.network.texts(inputs) if self.texts else self.network.images(inputs)

    def unbatch(self, output: Any) -> list[Any]:
        """The rows."""
        return list(output)

    def encode_response(self, output: Any) -> dict[str, list[float]]:
        """JSON."""
        return {"probabilities": output.tolist()}


if __name__ == "__main__":
    server = litserve.LitServer(
        Api(max_batch_size=MAX_BATCH_SIZE, batch_timeout=BATCH_TIMEOUT_S),
        accelerator="cpu",
        workers_per_device=1,
        fast_queue=True,
    )
    server.run(host="127.0.0.1", port=port(), num_api_servers=1, log_level="warning", generate_client_file=False)
