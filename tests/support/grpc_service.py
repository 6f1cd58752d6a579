"""A service that listens for gRPC, with Triton's client and a plain stub."""

import re

import grpc
import tritonclient.grpc as triton
from tritonclient.grpc.service_pb2_grpc import GRPCInferenceServiceStub

from tests.support.service import Service


class GrpcService(Service):
    """A service that listens for gRPC as well, with Triton's client and a plain stub of it."""

    def __init__(self, models, *arguments, **options):
        super().__init__(models, "--grpc-port", "0", *arguments, **options)
        found = re.search(r"gRPC listens on (\S+):(\d+)", self.log)
        assert found, self.log
        self.grpc_port = int(found[2])
        self.triton = triton.InferenceServerClient(f"127.0.0.1:{self.grpc_port}")
        self.channel = grpc.insecure_channel(f"127.0.0.1:{self.grpc_port}")
        self.stub = GRPCInferenceServiceStub(self.channel)

    def stop(self, *arguments):
        code = super().stop(*arguments)
        if hasattr(self, "channel"):
            self.triton.close()
            self.channel.close()
        return code

    def requests(self, model, code):
        return self.metric("atelier_requests_total", model=model, protocol="grpc:infer", code=str(code))

    def queued(self):
        return self.metric("atelier_queued_rows", model="slow")

    def dropped(self, reason):
        return self.metric("atelier_dropped_rows_total", model="slow", reason=reason)
