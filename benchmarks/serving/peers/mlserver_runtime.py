"""MLServer: a custom runtime around the network. Settings: see servers.py; adaptive batching on."""

import numpy as np
from mlserver import MLModel
from mlserver.codecs import NumpyCodec, StringCodec
from mlserver.types import InferenceRequest, InferenceResponse
from network import Network, serves_texts


class Peer(MLModel):
    """Open Inference Protocol, JSON: MLServer has no binary tensors."""

    async def load(self) -> bool:
        """Load the network."""
        self._network = Network()
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """One input, one output."""
        if serves_texts():
            answer = self._network.texts(StringCodec.decode_input(payload.inputs[0]))
        else:
            pixels = NumpyCodec.decode_input(payload.inputs[0])
            answer = self._network.images(pixels.astype(np.uint8, copy=False))
        output = NumpyCodec.encode_output("probabilities", answer)
        return InferenceResponse(model_name=self.name, model_version=self.version, outputs=[output])
