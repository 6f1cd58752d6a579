"""Messages of ``ModelInfer`` that were parsed before: the same bytes, but for their id and their tensor.

Source: Protocol Buffers, Encoding. A message is its fields, one after the other; all writers that we know put them in
the order of their numbers: the model's name, the id, what describes the tensors, and last the bytes of the tensor.
"""

from typing import NamedTuple

from google.protobuf.message import DecodeError

from app.batching.work import Answer
from app.edge.call import Route
from app.edge.grpc import inference_pb2 as pb
from app.edge.grpc.messages import plain_parameters, print_infer, requested_outputs
from app.edge.joint.oip_row_forms import cut, is_plain_tensor, stack_raw
from app.edge.joint.plain_forms import MOST_CONSTANT_BYTES, is_simple
from app.edge.joint.row_forms import RowForm, Rows
from app.edge.rest.oip_inputs import Declared, read_options
from app.edge.rest.oip_outputs import Requested, printed_outputs
from app.edge.rest.routes import EXPLAIN
from app.edge.rest.signature_name import SIGNATURE_NAME
from app.edge.shared_memory.regions import NO_MEMORY
from app.loaded import LoadedModel
from app.runtime.backend import take_rows
from app.types import Tensors

MOST_FORMS = 1_024
MOST_ROW_BYTES = 65_536
"""Most bytes of a tensor that is answered together with others."""
# Of one model, such as those of clients that send 1, 8 and 16 instances.
_MOST_SIZES = 8
# The tags of fields that are preceded by a length: model_name, id of request and reply, raw_output_contents. A length
# below 128 is one byte.
_NAME, _ID, _RAW_OUTPUT = 0x0A, 0x1A, 0x32
_ONE_BYTE = 0x80


class PlainMessage(NamedTuple):
    """A message of a known form.

    Attributes:
        form: the known form.
        request_id: as in the message.
        rows: the bytes of its tensor, and its number of instances.
    """

    form: "MessageRows"
    request_id: bytes
    rows: Rows


class MessageRows(RowForm):
    """``ModelInfer`` with the bytes of one tensor.

    Args:
        model: the version.
        rest: the message without name, id and tensor.
        declared: the tensor, as the message describes it.
        requested: outputs of the reply.

    Attributes:
        route: of the requests.
        count: instances of each.
        start: of all replies.
    """

    def __init__(self, model: LoadedModel, rest: bytes, declared: Declared, requested: list[Requested]) -> None:
        self.count: int = declared.shape[0]
        super().__init__(model, rest, most=self.count)
        self.route = Route("grpc", model.name, None, None, "infer", "grpc:infer", is_inference=True)
        self.start: bytes = pb.ModelInferResponse(
            model_name=model.name, model_version=str(model.version)
        ).SerializeToString()
        self._declared, self._requested = declared, requested
        self._outputs: bytes | None = None

    def stack(self, parts: list[bytes], count: int) -> Tensors:
        """The tensor of all instances, (count, *shape), of its datatype."""
        return stack_raw(parts, count, self._declared)

    def bodies(self, outputs: Answer, counts: list[int]) -> list[bytes]:
        """The end of each reply: the outputs and their bytes."""
        model = self.model()
        assert model is not None
        if self._outputs is None:
            first = print_infer(take_rows(outputs, 0, counts[0]), self._requested, model, "", NO_MEMORY)
            self._outputs = pb.ModelInferResponse(outputs=first.outputs).SerializeToString()
        columns = []
        for _, printed in printed_outputs(outputs, self._requested, model):
            columns.append([_field(_RAW_OUTPUT, part) for part in cut(printed, len(counts))])
        return [b"".join((self._outputs, *row)) for row in zip(*columns, strict=True)]

    def reply(self, request_id: bytes, body: bytes) -> bytes:
        """A reply with such an end."""
        field = _field(_ID, request_id) if request_id else b""
        return b"".join((self.start, field, body))


class KnownMessages:
    """The forms of messages that clients send again and again."""

    def __init__(self) -> None:
        self._sizes: dict[bytes, tuple[int, ...]] = {}  # field of a model's name -> bytes of its tensors
        self._forms: dict[tuple[bytes, bytes], MessageRows] = {}

    def find(self, data: bytes) -> PlainMessage | None:
        """The form of a message, its id and its tensor; None if it must be parsed."""
        parts = _parts(data)
        if parts is None:
            return None
        name, request_id, start = parts
        for size in self._sizes.get(name, ()):
            end = len(data) - size
            if end > start and (form := self._forms.get((name, data[start:end]))) is not None:
                return PlainMessage(form, request_id, (data[end:], form.count))
        return None

    def learn(self, data: bytes, request: pb.ModelInferRequest, model: LoadedModel) -> None:
        """Remember the form of a message that was parsed and answered, if it is plain.

        Args:
            data: the message.
            request: the same, parsed.
            model: the version that answers requests without a version, and answered this one.
        """
        if not is_simple(model) or not _has_one_tensor(request):
            return
        size = len(request.raw_input_contents[0])
        if size > MOST_ROW_BYTES:
            return
        parameters = plain_parameters(request.parameters)
        if SIGNATURE_NAME in parameters or EXPLAIN in parameters:
            return
        [tensor], requested = request.inputs, requested_outputs(request, model)
        declared = Declared(tensor.name, tensor.datatype, list(tensor.shape))
        most = model.batcher.rules.max_batch_size
        if not is_plain_tensor(declared, requested, read_options(parameters), most=most):
            return
        parts = _parts(data)
        if parts is None or parts[0][2:] != model.name.encode():
            return
        name, _, start = parts
        end = len(data) - size
        if not 0 < end - start <= MOST_CONSTANT_BYTES:
            return
        rest = data[start:end]
        known = self._forms.get((name, rest))
        if known is None or known.model() is not model:
            if not _is_message(name, rest, data[end:], model):
                return
            if len(self._forms) >= MOST_FORMS:
                self._forms.clear()
                self._sizes.clear()
            self._forms[name, rest] = MessageRows(model, rest, declared, requested)
        sizes = self._sizes.get(name, ())
        if size not in sizes:
            self._sizes[name] = (size, *sizes[: _MOST_SIZES - 1])


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


def _has_one_tensor(request: pb.ModelInferRequest) -> bool:
    """Whether a message has the bytes of one tensor, and states nothing else of it."""
    if len(request.inputs) != 1 or len(request.raw_input_contents) != 1 or request.model_version:
        return False
    [tensor] = request.inputs
    return not tensor.HasField("contents") and not tensor.parameters


def _is_message(name: bytes, rest: bytes, row: bytes, model: LoadedModel) -> bool:
    """Whether any id between these parts is the id, and any row after them is the tensor.

    A field of the same number further on would prevail, and the last bytes may be those of another field. So the
    message is parsed with two ids and two rows, which no other field can have by chance.
    """
    inverse = bytes(byte ^ 0xFF for byte in row)
    for request_id, last in (("x", row), ("y", inverse)):
        try:
            found = pb.ModelInferRequest.FromString(name + _field(_ID, request_id.encode()) + rest + last)
        except DecodeError:
            return False
        if found.id != request_id or found.model_name != model.name or list(found.raw_input_contents) != [last]:
            return False
    return True


def _field(tag: int, content: bytes) -> bytes:
    """A field that is preceded by its length."""
    return bytes([tag]) + _varint(len(content)) + content


def _varint(number: int) -> bytes:
    """Source: Protocol Buffers, Encoding, Base 128 Varints."""
    encoded = bytearray()
    while number >= _ONE_BYTE:
        encoded.append(number % _ONE_BYTE + _ONE_BYTE)
        number //= _ONE_BYTE
    encoded.append(number)
    return bytes(encoded)
