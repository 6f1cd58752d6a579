"""mosec: its HTTP front end in Rust and its dynamic batcher, one worker process, as in its documentation."""

from typing import Any

import numpy as np
import orjson
from mosec import Server, Worker
from network import MAX_BATCH_SIZE, Network, serves_texts

MAX_WAIT_MS = 5


class Peer(Worker):
    """Decodes, computes and encodes in one process: a second one would share the only core with it."""

    def __init__(self) -> None:
        super().__init__()
        self.network = Network()
        self.texts = serves_texts()

    def deserialize(self, data: bytes) -> Any:
        """One image as JSON or raw bytes, or one text as JSON."""
        if not data.startswith(b"{"):
            return np.frombuffer(data, np.uint8).reshape(28, 28)
        document = orjson.loads(data)
        return document["text"] if self.texts else np.array(document["image"], np.uint8)

    def forward(self, data: list[Any]) -> list[Any]:
        """A row of probabilities each."""
        return list(self.network.texts(data) if self.texts else self.network.images(np.stack(data)))

    def serialize(self, data: Any) -> bytes:
        """JSON."""
        return orjson.dumps({"probabilities": data}, option=orjson.OPT_SERIALIZE_NUMPY)


if __name__ == "__main__":
    server = Server()
    server.append_worker(Peer, num=1, max_batch_size=MAX_BATCH_SIZE, max_wait_time=MAX_WAIT_MS)
    server.run()
