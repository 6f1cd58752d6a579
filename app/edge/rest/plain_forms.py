"""Which requests are plain, so that they may be answered together."""

import simdjson

from app.edge.codec.media import costs_less_than_a_thread, kind_of
from app.edge.rest.oip_row_forms import binary_form, tensor_form
from app.edge.rest.request import HttpRequest
from app.edge.rest.row_forms import JsonRows, RawRows, RowForm, json_form
from app.loaded import LoadedModel

MOST_CONSTANT_BYTES = 1_024
"""Most bytes around the instance, which each form keeps."""
LARGEST_ANSWER_BYTES = 131_072
"""Most bytes of the outputs of a whole batch, which are printed at once."""
UNCOMPRESSED_BYTES = 128
"""Most bytes of an answer that is never long enough to be compressed: as JSON they are at most six times as many."""


def form_of(request: HttpRequest, body: bytes, model: LoadedModel, parser: simdjson.Parser) -> RowForm | None:
    """The form of a request whose headers are parsed; None if it is not plain.

    Args:
        request: its path and headers.
        body: of it.
        model: the version that answers.
        parser: see ``JsonRows``.
    """
    route, spec = request.route, model.spec
    if (
        request.content_encoding
        or len(spec.inputs) > 1
        or not (spec.batched and model.answer_is_bounded)
        or spec.whole
        or (only := spec.inputs[0]).is_string
        or only.is_variable
        or model.answer_bytes * model.batcher.rules.max_batch_size > LARGEST_ANSWER_BYTES
        or (request.accept_encoding and model.answer_bytes > UNCOMPRESSED_BYTES)
    ):
        return None
    form: RowForm | None
    if route.verb == "infer":
        if request.json_length is None:
            form = tensor_form(model, body, parser)
        else:
            form = binary_form(model, body, request.json_length)
    elif route.verb == "predict" and (kind := kind_of(request.content_type, body, model)) in {"tensor", "json"}:
        form = RawRows(model) if kind == "tensor" else json_form(model, body, parser)
    else:
        return None
    if form is None or form.row(body) is None or form.constant_bytes > MOST_CONSTANT_BYTES:
        return None
    return form if costs_less_than_a_thread("json" if isinstance(form, JsonRows) else "tensor", body) else None
