"""Explanations over gRPC: a request of ``ModelInfer`` with the parameter ``explain`` gets them in place of the outputs.

The parameter is the method; ``class``, ``samples``, ``seed`` and ``grid`` are parameters too. The only output is
``explanation``: for each instance a string, the JSON that ``:explain`` has in ``explanations``.
"""

from collections.abc import Sequence

import orjson

from app.contract.strings import length_prefixed
from app.edge.codec.datatypes import BYTES
from app.edge.grpc import inference_pb2 as pb
from app.edge.grpc.messages import plain_parameters
from app.edge.rest.explain import asked_of, document_of
from app.edge.rest.routes import EXPLAIN
from app.explain.explainer import Asked, Explanation
from app.loaded import LoadedModel

OUTPUT = "explanation"


def asks_for_explanations(message: pb.ModelInferRequest) -> bool:
    """Whether a request wants to know why its instances are answered as they are."""
    return EXPLAIN in message.parameters


def asked_by(message: pb.ModelInferRequest) -> Asked:
    """How they are to be explained. Raises as ``asked_of`` does."""
    parameters = plain_parameters(message.parameters)
    return asked_of({**parameters, "method": parameters[EXPLAIN]})


def print_explanations(
    found: Sequence[Explanation], model: LoadedModel, asked: Asked, request_id: str
) -> pb.ModelInferResponse:
    """The reply."""
    documents = [orjson.dumps(document_of(each, model, asked)) for each in found]
    output = pb.ModelInferResponse.InferOutputTensor(name=OUTPUT, datatype=BYTES, shape=[len(documents)])
    return pb.ModelInferResponse(
        model_name=model.name,
        model_version=str(model.version),
        id=request_id,
        outputs=[output],
        raw_output_contents=[length_prefixed(documents)],
    )
