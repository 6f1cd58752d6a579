"""The methods of Triton's shared memory extension; their rules are those of REST."""

from grpc.aio import ServicerContext

from app.control.administration import AdminRule
from app.edge.entry.door import Door
from app.edge.grpc import inference_pb2 as pb
from app.edge.grpc.metadata import is_near
from app.edge.grpc.methods import Methods, answers_errors
from app.edge.shared_memory.regions import NO_CUDA, TOO_FAR, Closed, Regions
from app.errors import Forbidden, Unsupported


class SharedMemoryMethods(Methods):
    """See and register regions, for administrators on this machine.

    Args:
        memory: the regions, or the reason why they are not available.
        admin, door: see ``Methods``.
    """

    def __init__(self, *, memory: Regions | Closed, admin: AdminRule, door: Door) -> None:
        super().__init__(admin=admin, door=door)
        self._memory = memory

    @answers_errors
    async def SystemSharedMemoryStatus(
        self, request: pb.SystemSharedMemoryStatusRequest, context: ServicerContext
    ) -> pb.SystemSharedMemoryStatusResponse:
        """The regions, or the one of that name."""
        regions = self._regions("SystemSharedMemoryStatus", context).status(request.name or None)
        status = pb.SystemSharedMemoryStatusResponse.RegionStatus
        return pb.SystemSharedMemoryStatusResponse(regions={each["name"]: status(**each) for each in regions})

    @answers_errors
    async def SystemSharedMemoryRegister(
        self, request: pb.SystemSharedMemoryRegisterRequest, context: ServicerContext
    ) -> pb.SystemSharedMemoryRegisterResponse:
        """Open a region under a name."""
        regions = self._regions("SystemSharedMemoryRegister", context)
        regions.register(request.name, request.key, request.byte_size, request.offset)
        return pb.SystemSharedMemoryRegisterResponse()

    @answers_errors
    async def SystemSharedMemoryUnregister(
        self, request: pb.SystemSharedMemoryUnregisterRequest, context: ServicerContext
    ) -> pb.SystemSharedMemoryUnregisterResponse:
        """Close a region, or all without a name."""
        self._regions("SystemSharedMemoryUnregister", context).unregister(request.name or None)
        return pb.SystemSharedMemoryUnregisterResponse()

    @answers_errors
    async def CudaSharedMemoryStatus(
        self, request: pb.CudaSharedMemoryStatusRequest, context: ServicerContext
    ) -> pb.CudaSharedMemoryStatusResponse:
        """Always empty."""
        return pb.CudaSharedMemoryStatusResponse()

    @answers_errors
    async def CudaSharedMemoryRegister(
        self, request: pb.CudaSharedMemoryRegisterRequest, context: ServicerContext
    ) -> pb.CudaSharedMemoryRegisterResponse:
        """Not supported."""
        raise Unsupported(f"region {request.name!r}: {NO_CUDA}")

    @answers_errors
    async def CudaSharedMemoryUnregister(
        self, request: pb.CudaSharedMemoryUnregisterRequest, context: ServicerContext
    ) -> pb.CudaSharedMemoryUnregisterResponse:
        """Without effect."""
        return pb.CudaSharedMemoryUnregisterResponse()

    def _regions(self, call: str, context: ServicerContext) -> Regions:
        self.check_admin(call, context)
        if not is_near(context):
            raise Forbidden(f"{call}: {TOO_FAR.reason}")
        return self._memory.opened()
