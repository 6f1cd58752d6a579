"""Messages of ``ModelInfer`` that were parsed before: the same bytes, but for their id and their tensor.

Source: Protocol Buffers, Encoding. A message is its fields, one after the other; all writers that we know put them in
the order of their numbers: the model's name, the id, what describes the tensors, and last the bytes of the tensor.
"""

from typing import NamedTuple

from app.batching.work import DEFAULT_OPTIONS, Answer
from app.edge.call import Route
from app.edge.codec.datatypes import BYTES
from app.edge.grpc import inference_pb2 as pb
from app.edge.grpc.messages import plain_parameters, print_infer, requested_outputs
from app.edge.rest.oip_inputs import Declared, read_options
from app.edge.rest.oip_outputs import Requested, printed_outputs
from app.edge.rest.oip_row_forms import rows_of, stack_raw
from app.edge.rest.plain_forms import MOST_CONSTANT_BYTES, is_simple
from app.edge.rest.row_forms import RowForm
from app.edge.rest.signature_name import SIGNATURE_NAME
from app.edge.shared_memory.regions import NO_MEMORY
from app.loaded import LoadedModel
from app.types import Tensors

MOST_FORMS = 1_024
MOST_ROW_BYTES = 65_536
"""Most bytes of a tensor that is answered together with others."""
# The tags of fields that are preceded by a length: model_name and id of the request, id and raw_output_contents of the
# reply. A length below 128 is one byte.
_NAME, _ID, _REPLY_ID, _RAW_OUTPUT = 0x0A, 0x1A, b"\x1a", b"\x32"
_ONE_BYTE = 0x80


class PlainMessage(NamedTuple):
    """A message of a known form.

    Attributes:
        request_id: as in the message.
        row: bytes of its tensor.
    """

    form: "MessageRows"
    request_id: bytes
    row: bytes


class MessageRows(RowForm):
    """``ModelInfer`` with the bytes of one tensor of one instance.

    Args:
        model: the version.
        rest: the message without name, id and tensor.
        declared: the tensor, as the message describes it.
        requested: outputs of the reply.

    Attributes:
        route: of the requests.
        start: of all replies.
    """

    def __init__(self, model: LoadedModel, rest: bytes, declared: Declared, requested: list[Requested]) -> None:
        super().__init__(model, rest)
        self.route = Route("grpc", model.name, None, None, "infer", "grpc:infer", is_inference=True)
        self.start: bytes = pb.ModelInferResponse(
            model_name=model.name, model_version=str(model.version)
        ).SerializeToString()
        self._declared, self._requested = declared, requested
        self._outputs: bytes | None = None

    def row(self, body: bytes) -> bytes | None:
        """The bytes of the tensor."""
        return body if len(body) == self._tensor.instance_bytes else None

    def stack(self, rows: list[bytes]) -> Tensors:
        """See ``RowForm``."""
        return stack_raw(rows, self._declared)

    def bodies(self, outputs: Answer) -> list[bytes]:
        """The end of each reply: the outputs and their bytes."""
        model = self.model()
        assert model is not None
        if self._outputs is None:
            first = print_infer(
                {name: values[:1] for name, values in outputs.items()}, self._requested, model, "", NO_MEMORY
            )
            self._outputs = pb.ModelInferResponse(outputs=first.outputs).SerializeToString()
        columns = []
        for _, printed in printed_outputs(outputs, self._requested, model):
            rows = rows_of(printed)
            tag = _RAW_OUTPUT + _varint(len(rows[0]))
            columns.append([tag + row for row in rows])
        return [b"".join((self._outputs, *row)) for row in zip(*columns, strict=True)]

    def reply(self, request_id: bytes, body: bytes) -> bytes:
        """A reply with such an end."""
        field = _REPLY_ID + _varint(len(request_id)) + request_id if request_id else b""
        return b"".join((self.start, field, body))


class KnownMessages:
    """The forms of messages that clients send again and again."""

    def __init__(self) -> None:
        self._sizes: dict[bytes, int] = {}  # field of a model's name -> bytes of its tensor
        self._forms: dict[tuple[bytes, bytes], MessageRows | None] = {}

    def find(self, data: bytes) -> PlainMessage | None:
        """The form of a message, its id and its tensor; None if it must be parsed."""
        parts = _parts(data)
        if parts is None:
            return None
        name, request_id, start = parts
        end = len(data) - self._sizes.get(name, len(data))
        form = self._forms.get((name, data[start:end])) if end > start else None
        return None if form is None else PlainMessage(form, request_id, data[end:])

    def learn(self, data: bytes, request: pb.ModelInferRequest, model: LoadedModel) -> None:
        """Remember the form of a message that was parsed and answered.

        Args:
            data: the message.
            request: the same, parsed.
            model: the version that answers requests without a version, and answered this one.
        """
        parts = _parts(data)
        if parts is None or not is_simple(model) or model.spec.inputs[0].instance_bytes > MOST_ROW_BYTES:
            return
        name, _, start = parts
        if name[2:] != model.name.encode():
            return
        size = model.spec.inputs[0].instance_bytes
        rest = data[start : len(data) - size]
        if not rest or len(rest) > MOST_CONSTANT_BYTES:
            return
        known = self._forms.get((name, rest))
        if (name, rest) in self._forms and (known is None or known.model() is model):
            return
        if len(self._forms) >= MOST_FORMS:
            self._forms.clear()
            self._sizes.clear()
        self._sizes[name] = size
        self._forms[name, rest] = _form(name, rest, data[len(data) - size :], request, model)


def _parts(data: bytes) -> tuple[bytes, bytes, int] | None:
    """The field of the model's name, the id, and where the rest begins; None if a message does not begin with them."""
    if len(data) < 4 or data[0] != _NAME or data[1] >= _ONE_BYTE:
        return None
    end = 2 + data[1]
    if len(data) < end + 2 or data[end] != _ID:
        return data[:end], b"", end
    start = end + 2 + data[end + 1]
    request_id = data[end + 2 : start]
    if data[end + 1] >= _ONE_BYTE or not request_id.isascii():
        return None
    return data[:end], request_id, start


def _form(
    name: bytes, rest: bytes, row: bytes, request: pb.ModelInferRequest, model: LoadedModel
) -> MessageRows | None:
    """The form of a message with these parts; None if it is not plain."""
    # The fields around the id and the tensor decide; another field of the same number, further on, would prevail.
    alone = pb.ModelInferRequest.FromString(name + rest + row)
    if alone.id or alone.model_name != model.name or list(alone.raw_input_contents) != [row]:
        return None
    parameters = plain_parameters(request.parameters)
    if request.model_version or SIGNATURE_NAME in parameters or read_options(parameters) != DEFAULT_OPTIONS:
        return None
    if len(request.inputs) != 1 or any(output.parameters for output in request.outputs):
        return None
    [tensor] = request.inputs
    if tensor.parameters or tensor.HasField("contents") or tensor.datatype == BYTES or tensor.shape[:1] != [1]:
        return None
    declared = Declared(tensor.name, tensor.datatype, list(tensor.shape))
    return MessageRows(model, rest, declared, requested_outputs(request, model))


def _varint(number: int) -> bytes:
    """Source: Protocol Buffers, Encoding, Base 128 Varints."""
    encoded = bytearray()
    while number >= _ONE_BYTE:
        encoded.append(number % _ONE_BYTE + _ONE_BYTE)
        number //= _ONE_BYTE
    encoded.append(number)
    return bytes(encoded)
