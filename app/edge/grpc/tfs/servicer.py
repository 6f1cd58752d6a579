"""The methods of TensorFlow Serving's PredictionService and ModelService.

Source: TensorFlow Serving, prediction_service.proto and model_service.proto; get_model_metadata and
get_model_status_impl for the words of their errors.
"""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import grpc
from google.protobuf.json_format import ParseDict
from grpc.aio import ServicerContext

from app.control.administration import AdminRule
from app.control.tfs import signature_defs, version_status
from app.edge.entry.door import Door
from app.edge.grpc.calls import Refusal
from app.edge.grpc.methods import Methods, answers_errors
from app.edge.grpc.tfs import serving_pb2 as pb
from app.edge.grpc.tfs.inference import TfsInference
from app.edge.grpc.tfs.messages import CLASSIFY, MULTI_INFERENCE, PREDICT, REGRESS, Verb
from app.edge.grpc.tfs.reload import Reload
from app.edge.grpc.tfs.target import Target, check_spec
from app.edge.grpc.wire_size import FieldLimit, parts_of
from app.errors import InvalidInput, ModelNotFound, NotFound
from app.lifecycle.registry import Registry

PREDICTION, MODEL = SERVICES = ("tensorflow.serving.PredictionService", "tensorflow.serving.ModelService")
_SIGNATURE_DEF = "signature_def"
_SIGNATURE_DEF_TYPE = "type.googleapis.com/tensorflow.serving.SignatureDefMap"

Handler = Callable[[Any, ServicerContext], Awaitable[Any]]


class TfsServicer(Methods):
    """Answers TensorFlow Serving's gRPC calls.

    Args:
        inference: answers inference requests.
        registry: finds the model version.
        reload: loads and unloads.
        admin, door: see ``Methods``.
    """

    def __init__(
        self, *, inference: TfsInference, registry: Registry, reload: Reload, admin: AdminRule, door: Door
    ) -> None:
        super().__init__(admin=admin, door=door)
        self._inference = inference
        self._registry = registry
        self._reload = reload

    def handlers(self) -> list[grpc.GenericRpcHandler]:
        """The handlers for ``add_generic_rpc_handlers``: their paths have TensorFlow Serving's names."""
        methods = self._methods()
        return [
            grpc.method_handlers_generic_handler(
                service,
                {
                    name: grpc.unary_unary_rpc_method_handler(
                        methods[name],
                        request_deserializer=request.FromString,
                        response_serializer=response.SerializeToString,
                    )
                    for name, request, response in _signatures(service)
                },
            )
            for service in SERVICES
        ]

    def field_limits(self) -> dict[str, FieldLimit]:
        """Path of each method -> how many fields its requests may have, as deep as they are."""
        return {
            f"/{service}/{name}": FieldLimit(parts_of(request.DESCRIPTOR))
            for service in SERVICES
            for name, request, _ in _signatures(service)
        }

    def _methods(self) -> dict[str, Handler]:
        return {
            "Predict": partial(self._infer, PREDICT),
            "Classify": partial(self._infer, CLASSIFY),
            "Regress": partial(self._infer, REGRESS),
            "MultiInference": partial(self._infer, MULTI_INFERENCE),
            "GetModelMetadata": self.get_model_metadata,
            "GetModelStatus": self.get_model_status,
            "HandleReloadConfigRequest": self.handle_reload_config,
        }

    async def _infer(self, verb: Verb, request: Any, context: ServicerContext) -> Any:
        """Answer an inference request; counted with the status code of the REST interface."""
        request_id = self.begin(context)
        reply = await self._inference.answer(self._inference.call(verb, request, context, request_id))
        if isinstance(reply, Refusal):
            await context.abort(*reply)
        return reply

    @answers_errors
    async def get_model_metadata(
        self, request: pb.GetModelMetadataRequest, context: ServicerContext
    ) -> pb.GetModelMetadataResponse:
        """The signature of a version."""
        spec = request.model_spec
        check_spec(spec, given=request.HasField("model_spec"))
        if not request.metadata_field:
            raise InvalidInput("GetModelMetadataRequest must specify at least one metadata_field")
        for name in request.metadata_field:
            if name != _SIGNATURE_DEF:
                raise InvalidInput(f"Metadata field {name} is not supported")
        target = Target.of(spec)
        try:
            model = await self._registry.described(target.name, target.number, target.label)
        except NotFound:
            raise target.not_found() from None
        response = pb.GetModelMetadataResponse(model_spec=pb.ModelSpec(name=model.name))
        response.model_spec.version.value = model.version
        signatures = ParseDict(
            {"signature_def": signature_defs(model)}, pb.SignatureDefMap(), ignore_unknown_fields=True
        )
        found = response.metadata[_SIGNATURE_DEF]
        found.type_url, found.value = _SIGNATURE_DEF_TYPE, signatures.SerializeToString()
        return response

    @answers_errors
    async def get_model_status(
        self, request: pb.GetModelStatusRequest, context: ServicerContext
    ) -> pb.GetModelStatusResponse:
        """The state of every version, or of one."""
        spec = request.model_spec
        check_spec(spec, given=request.HasField("model_spec"))
        target = Target.of(spec)
        version = target.number
        try:
            if target.label is not None:
                version = self._registry.labelled(target.name, target.label)
            records = self._registry.records(target.name)
            if version is not None:
                records = [self._registry.record(target.name, version)]
        except NotFound as error:
            if target.label is not None:
                raise target.not_found() from None
            if isinstance(error, ModelNotFound):
                raise ModelNotFound(f"Could not find any versions of model {target.name}") from None
            raise
        response = pb.GetModelStatusResponse()
        ParseDict({"model_version_status": [version_status(record) for record in records]}, response)
        return response

    @answers_errors
    async def handle_reload_config(
        self, request: pb.ReloadConfigRequest, context: ServicerContext
    ) -> pb.ReloadConfigResponse:
        """Load and unload models. An error is the status of the call."""
        self.check_admin("HandleReloadConfigRequest", context)
        await self._reload.run(request.config)
        return pb.ReloadConfigResponse(status=pb.StatusProto(error_code=pb.OK))


def _signatures(service: str) -> list[tuple[str, Any, Any]]:
    """Name, request and response of each method of a service."""
    described = pb.DESCRIPTOR.services_by_name[service.rpartition(".")[2]]
    return [
        (method.name, getattr(pb, method.input_type.name), getattr(pb, method.output_type.name))
        for method in described.methods
    ]
