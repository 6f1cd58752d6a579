"""The floor of gRPC: a servicer of grpcio's asyncio server that answers every ``ModelInfer`` with a constant reply.

It uses uvloop and Atelier's generated messages, and describes the model as perf_analyzer asks: ``python grpc_floor.py
PORT``.
"""

import asyncio
import sys
from typing import Any

import grpc
import uvloop

from app.edge.grpc import inference_pb2 as pb
from app.edge.grpc.inference_pb2_grpc import (
    GRPCInferenceServiceServicer,
    add_GRPCInferenceServiceServicer_to_server,
)

CLASSES, SIDE, TYPE_UINT8, TYPE_FP32 = 10, 28, 2, 11


class Floor(GRPCInferenceServiceServicer):
    """Parses each request and answers with the same message."""

    def __init__(self) -> None:
        self._reply = pb.ModelInferResponse(model_name="floor", model_version="1")
        self._reply.outputs.add(name="probabilities", datatype="FP32", shape=(1, CLASSES))
        self._reply.raw_output_contents.append(bytes(4 * CLASSES))

    async def ModelInfer(self, request: Any, context: Any) -> Any:
        """The constant reply."""
        return self._reply

    async def ServerMetadata(self, request: Any, context: Any) -> Any:
        """A name."""
        return pb.ServerMetadataResponse(name="floor", version="1")

    async def ServerReady(self, request: Any, context: Any) -> Any:
        """Always."""
        return pb.ServerReadyResponse(ready=True)

    async def ModelReady(self, request: Any, context: Any) -> Any:
        """Always."""
        return pb.ModelReadyResponse(ready=True)

    async def ModelMetadata(self, request: Any, context: Any) -> Any:
        """Of one image to ten numbers."""
        found = pb.ModelMetadataResponse(name=request.name, versions=["1"], platform="floor")
        found.inputs.add(name="pixels", datatype="UINT8", shape=(-1, SIDE, SIDE))
        found.outputs.add(name="probabilities", datatype="FP32", shape=(-1, CLASSES))
        return found

    async def ModelConfig(self, request: Any, context: Any) -> Any:
        """The same."""
        found = pb.ModelConfigResponse()
        found.config.name, found.config.max_batch_size = request.name, 64
        found.config.input.add(name="pixels", data_type=TYPE_UINT8, dims=(SIDE, SIDE))
        found.config.output.add(name="probabilities", data_type=TYPE_FP32, dims=(CLASSES,))
        return found


async def serve(port: int) -> None:
    """Answer until the process is ended."""
    server = grpc.aio.server()
    add_GRPCInferenceServiceServicer_to_server(Floor(), server)  # type: ignore[no-untyped-call]
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    await server.wait_for_termination()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(int(sys.argv[1])))
