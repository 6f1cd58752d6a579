"""A service with a client of TensorFlow Serving's gRPC protocol."""

from tests.support.grpc_service import GrpcService
from tests.support.tfs import (
    TfsClient,
)


class TfsService(GrpcService):
    """A service with a client of TensorFlow Serving's protocol."""

    def __init__(self, models, *arguments, **options):
        super().__init__(models, *arguments, **options)
        self.tfs = TfsClient(self.grpc_port)

    def stop(self, *arguments):
        if hasattr(self, "tfs"):
            self.tfs.close()
        return super().stop(*arguments)

    def counted(self, model, verb, code):
        return self.metric("atelier_requests_total", model=model, protocol=f"grpc:{verb}", code=str(code))
