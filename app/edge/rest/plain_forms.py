"""Which requests are plain, so that they may be answered together."""

from math import prod

import simdjson

from app.edge.codec.media import Kind, costs_less_than_a_thread, kind_of
from app.edge.respond import COMPRESS_FROM_BYTES
from app.edge.rest.oip_row_forms import binary_form, tensor_form
from app.edge.rest.request import HttpRequest
from app.edge.rest.row_forms import RawRows, RowForm, json_form
from app.loaded import LoadedModel

MOST_CONSTANT_BYTES = 1_024
"""Most bytes around the instance, which each form keeps."""
MOST_BATCH_ANSWER_BYTES = 131_072
"""Most bytes of the outputs of a whole batch, which are printed at once."""
LONGEST_NUMBER = 25
"""Most characters of a number in JSON, more than any that NumPy's types print as."""


def form_of(
    request: HttpRequest, body: bytes, model: LoadedModel, parser: simdjson.Parser, *, reply_bytes: int
) -> RowForm | None:
    """The form of a request that was answered; None if it is not plain.

    Args:
        request: its path and headers.
        body: of it.
        model: the version that answers.
        parser: see ``JsonRows``.
        reply_bytes: size of the body of its reply.
    """
    route, spec = request.route, model.spec
    if (
        request.content_encoding
        or len(spec.inputs) > 1
        or not (spec.batched and model.answer_is_bounded)
        or spec.whole
        or (only := spec.inputs[0]).is_string
        or only.is_variable
        or model.answer_bytes * model.batcher.rules.max_batch_size > MOST_BATCH_ANSWER_BYTES
        or (request.accept_encoding and reply_bytes + LONGEST_NUMBER * _values(model) >= COMPRESS_FROM_BYTES)
    ):
        return None
    kind: Kind
    if route.verb == "infer":
        kind = "json" if request.json_length is None else "tensor"
    elif route.verb == "predict":
        kind = kind_of(request.content_type, body, model)
    else:
        return None
    if kind not in {"json", "tensor"} or not costs_less_than_a_thread(kind, body):
        return None
    if kind == "json" and only.elements > len(body):  # a number takes a byte at least
        return None
    form: RowForm | None
    if route.verb == "infer":
        if request.json_length is None:
            form = tensor_form(model, body, parser)
        else:
            form = binary_form(model, body, request.json_length)
    else:
        form = RawRows(model) if kind == "tensor" else json_form(model, body, parser)
    if form is None or form.constant_bytes > MOST_CONSTANT_BYTES or form.row(body) is None:
        return None
    return form


def _values(model: LoadedModel) -> int:
    """Numbers of the answer to one instance."""
    return sum(prod(output.shape) for output in model.spec.outputs)
