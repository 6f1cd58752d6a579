"""Requests of PredictionService to tensors, and outputs to its replies.

Source: TensorFlow Serving, predict.proto, classification.proto, regression.proto and inference.proto; errors in the
words of its predict_util, classifier, regressor and multi_inference.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from app.batching.work import Answer
from app.contract.model_spec import MOST_TENSORS
from app.edge.call import InferenceRequest
from app.edge.grpc.tfs import serving_pb2 as pb
from app.edge.grpc.tfs.examples import read_examples
from app.edge.grpc.tfs.tensors import Room, read_tensor, sent_values, write_tensor
from app.edge.rest.formats import DEFAULT_TOP_K
from app.edge.rest.named_rows import input_name
from app.edge.rest.signature_name import is_default
from app.errors import InvalidInput, Unsupported
from app.loaded import LoadedModel

CLASSIFY_METHOD, REGRESS_METHOD = "tensorflow/serving/classify", "tensorflow/serving/regress"
# More elements than this are read in a worker thread, since each of them becomes a Python object; and larger Examples.
INLINE_VALUES = 8_192
INLINE_EXAMPLES_BYTES = 16_384
# Of a request; MultiInference knows one task for each signature.
MOST_TASKS = 16

Parse = Callable[[Any, LoadedModel, Room], InferenceRequest[Any]]


class Verb(NamedTuple):
    """An inference method.

    Attributes:
        name: as metrics and logs name it.
        parse: from its request to tensors.
    """

    name: str
    parse: Parse


def is_small(message: Any) -> bool:
    """Whether parsing costs less than a thread hop."""
    if isinstance(message, pb.PredictRequest):
        return sum(sent_values(tensor) for tensor in message.inputs.values()) <= INLINE_VALUES
    return bool(message.input.ByteSize() <= INLINE_EXAMPLES_BYTES)


def parse_predict(message: pb.PredictRequest, model: LoadedModel, room: Room) -> InferenceRequest[pb.PredictResponse]:
    """Tensors of ``Predict``. Raises InvalidInput: names the input or the output, and the rule it breaks."""
    signature = message.model_spec.signature_name or model.signature
    answering = model if is_default(signature, model) else model.signatures.get(signature)
    if answering is None:
        raise InvalidInput(f'Serving signature key "{signature}" not found.')
    names = _input_names(message.inputs, answering)
    inputs = {name: read_tensor(message.inputs[alias], name, answering, room) for alias, name in names.items()}
    outputs, spec = _output_names(message.output_filter, answering), answering.spec

    def reply(answer: Answer) -> pb.PredictResponse:
        response = pb.PredictResponse(model_spec=_spec(model, signature))
        for name in outputs:
            response.outputs[name].CopyFrom(write_tensor(answer[name], spec.output(name)))
        return response

    return InferenceRequest(inputs, reply, model=answering)


def parse_classify(
    message: pb.ClassificationRequest, model: LoadedModel, room: Room
) -> InferenceRequest[pb.ClassificationResponse]:
    """Tensors of ``Classify``. Raises InvalidInput as ``read_examples`` does, or if the model does not classify."""
    _check_signature(message.model_spec.signature_name, model)
    result = _classifying(model)
    return InferenceRequest(
        read_examples(message.input, model),
        lambda answer: pb.ClassificationResponse(model_spec=_spec(model), result=result(answer)),
    )


def parse_regress(
    message: pb.RegressionRequest, model: LoadedModel, room: Room
) -> InferenceRequest[pb.RegressionResponse]:
    """Tensors of ``Regress``. Raises InvalidInput as ``read_examples`` does, or if the model does not regress."""
    _check_signature(message.model_spec.signature_name, model)
    result = _regressing(model)
    return InferenceRequest(
        read_examples(message.input, model),
        lambda answer: pb.RegressionResponse(model_spec=_spec(model), result=result(answer)),
    )


def parse_multi(
    message: pb.MultiInferenceRequest, model: LoadedModel, room: Room
) -> InferenceRequest[pb.MultiInferenceResponse]:
    """Tensors of ``MultiInference``: one run of the model for all tasks.

    Raises:
        InvalidInput: as in ``read_examples``, or a task breaks a rule of the protocol.
        Unsupported: a task neither classifies nor regresses.
    """
    _check_tasks(message.tasks, model)
    results = [_task_result(task.method_name, model) for task in message.tasks]

    def reply(answer: Answer) -> pb.MultiInferenceResponse:
        return pb.MultiInferenceResponse(
            results=[pb.InferenceResult(model_spec=_spec(model), **result(answer)) for result in results]
        )

    return InferenceRequest(read_examples(message.input, model), reply)


def first_spec(message: pb.MultiInferenceRequest) -> pb.ModelSpec:
    """The model of a request of ``MultiInference``, which is that of each of its tasks.

    Raises:
        InvalidInput: no task, too many tasks, or tasks for several models or versions.
    """
    if not 1 <= len(message.tasks) <= MOST_TASKS:
        raise InvalidInput(f"the request has {len(message.tasks)} tasks; send 1 to {MOST_TASKS}")
    first: pb.ModelSpec = message.tasks[0].model_spec
    for task in message.tasks:
        if not task.model_spec.name:
            raise InvalidInput("Found ModelSpec with an empty model name.")
        if task.model_spec.name != first.name:
            raise InvalidInput("All ModelSpecs in a MultiInferenceRequest must access the same model name.")
        if task.model_spec.WhichOneof("version_choice") and (
            task.model_spec.version != first.version or task.model_spec.version_label != first.version_label
        ):
            raise InvalidInput("All ModelSpecs in a MultiInferenceRequest must access the same model version.")
    return first


def _task_result(method: str, model: LoadedModel) -> Callable[[Answer], dict[str, Any]]:
    """From outputs to the field of a task's result."""
    if method == CLASSIFY_METHOD:
        classify = _classifying(model)
        return lambda answer: {"classification_result": classify(answer)}
    if method == REGRESS_METHOD:
        regress = _regressing(model)
        return lambda answer: {"regression_result": regress(answer)}
    raise Unsupported(f"Unsupported signature method_name: {method}; use {CLASSIFY_METHOD} or {REGRESS_METHOD}")


def _check_tasks(tasks: Iterable[pb.InferenceTask], model: LoadedModel) -> None:
    seen = set()
    for task in tasks:
        name = task.model_spec.signature_name or model.signature
        if name in seen:
            raise InvalidInput(f"Duplicate evaluation of signature: {name}")
        if not is_default(name, model):
            raise InvalidInput(f"Requested signature not found in model graph: {name}")
        seen.add(name)


def _check_signature(name: str, model: LoadedModel) -> None:
    if not is_default(name, model):
        raise InvalidInput(f"No signature was found with the name: {name}")


def _input_names(aliases: Iterable[str], model: LoadedModel) -> dict[str, str]:
    """The name in the request -> the input; every required input of the signature has one."""
    given, known = set(aliases), {tensor.name for tensor in model.spec.inputs}
    required = model.spec.required_names
    if len(given) > MOST_TENSORS:
        raise InvalidInput(f"inputs: {len(given)} entries; at most {MOST_TENSORS} are accepted")
    named = {alias: input_name(alias, model) for alias in given}
    if len(given) not in model.spec.input_counts or (model.has_optional and not required <= set(named.values())):
        extra = {alias for alias in given if named[alias] not in known}
        raise InvalidInput(
            f"input size does not match signature: {len(given)}!={len(known)} len({_listed(given)}) != "
            f"len({_listed(known)}). Sent extra: {_listed(extra)}. Missing but required: "
            f"{_listed(required - set(named.values()))}."
        )
    for alias in sorted(given):
        if named[alias] not in known:
            raise InvalidInput(
                f"input tensor alias not found in signature: {alias}. Inputs expected to be in the set "
                f"{_listed(known)}."
            )
    if missing := required - set(named.values()):  # two names of one input
        raise InvalidInput(f"two inputs feed {min(set(named.values()))!r}; input {min(missing)!r} is missing")
    return named


def _output_names(aliases: Sequence[str], model: LoadedModel) -> list[str]:
    """The outputs of a reply: those that the request names, or all."""
    known = [tensor.name for tensor in model.spec.outputs]
    seen: set[str] = set()
    for alias in aliases:
        if alias not in known:
            raise InvalidInput(
                f"output tensor alias not found in signature: {alias} Outputs expected to be in the set "
                f"{_listed(known)}."
            )
        if alias in seen:
            raise InvalidInput(f"duplicate output tensor alias: {alias}")
        seen.add(alias)
    return list(aliases) or known


def _listed(names: Iterable[str]) -> str:
    return f"{{{','.join(sorted(names))}}}"


def _classifying(model: LoadedModel) -> Callable[[Answer], pb.ClassificationResult]:
    """From outputs to the best classes, best first. Raises InvalidInput if the model does not classify."""
    name, top_k = model.score_output(), min(DEFAULT_TOP_K, len(model.labels()))

    def result(answer: Answer) -> pb.ClassificationResult:
        return pb.ClassificationResult(
            classifications=[
                pb.Classifications(classes=[pb.Class(label=label, score=score) for label, score in best])
                for best in model.ranked(answer[name], top_k=top_k)
            ]
        )

    return result


def _regressing(model: LoadedModel) -> Callable[[Answer], pb.RegressionResult]:
    """From outputs to one number for each Example. Raises InvalidInput if the model does not regress."""
    name = model.value_output()

    def result(answer: Answer) -> pb.RegressionResult:
        return pb.RegressionResult(
            regressions=[pb.Regression(value=value) for value in answer[name].reshape(-1).tolist()]
        )

    return result


def _spec(model: LoadedModel, signature: str = "") -> pb.ModelSpec:
    """Which model, version and signature have answered; by default its default signature."""
    spec = pb.ModelSpec(name=model.name, signature_name=signature or model.signature)
    spec.version.value = model.version
    return spec


PREDICT = Verb("predict", parse_predict)
CLASSIFY = Verb("classify", parse_classify)
REGRESS = Verb("regress", parse_regress)
MULTI_INFERENCE = Verb("multi_inference", parse_multi)
