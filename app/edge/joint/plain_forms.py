"""Which requests are plain, so that they may be answered together."""

from math import prod

import orjson
import simdjson

from app.edge.codec.encoded import INLINE_PIXELS
from app.edge.codec.media import Kind, costs_less_than_a_thread
from app.edge.joint.oip_row_forms import infer_binary_form, infer_json_form
from app.edge.joint.row_forms import BodyForm, ImageRows, RawRows, json_form
from app.edge.joint.row_replies import Classes, Predictions, RowReplies
from app.edge.joint.text_row_forms import TextRows, text_json_form
from app.edge.respond import COMPRESS_FROM_BYTES
from app.edge.rest.formats import kind_of, top_k_of
from app.edge.rest.request import HttpRequest
from app.loaded import LoadedModel

MOST_CONSTANT_BYTES = 1_024
"""Most bytes around the instance, which each form keeps."""
MOST_BATCH_ANSWER_BYTES = 131_072
"""Most bytes of the outputs of a whole batch, which are printed at once."""
MOST_BATCH_LABELS = 2_048
"""Most labels in the replies to a whole batch."""
LONGEST_NUMBER = 25
"""Most characters of a number in JSON, more than any that NumPy's types print as."""


def form_of(
    request: HttpRequest, body: bytes, model: LoadedModel, parser: simdjson.Parser, *, reply_bytes: int
) -> BodyForm | None:
    """The form of a request that was answered; None if it is not plain.

    Args:
        request: its path and headers.
        body: of it.
        model: the version that answers.
        parser: see ``JsonRows``.
        reply_bytes: size of the body of its reply.
    """
    if request.content_encoding or not (is_simple(model) or takes_one_text(model)):
        return None
    if request.accept_encoding and _may_be_compressed(request, model, reply_bytes):
        return None
    kind = kind_of(request, body, model)
    if not costs_less_than_a_thread(kind, body):
        return None
    # Of several instances, only the reply to these is known to be too short to be compressed.
    most = 1 if request.accept_encoding else model.batcher.rules.max_batch_size
    form = _form(kind, request, body, model, parser, most=most)
    if form is None or form.constant_bytes > MOST_CONSTANT_BYTES or form.rows(body) is None:
        return None
    return form


def is_simple(model: LoadedModel) -> bool:
    """Whether a version has one input of a fixed size, and few outputs."""
    only = model.spec.inputs[0]
    return _has_few_outputs(model) and not (only.is_string or only.is_variable)


def takes_one_text(model: LoadedModel) -> bool:
    """Whether a version has one input, which is for texts, and few outputs."""
    return model.tokenizer is not None and _has_few_outputs(model)


def _has_few_outputs(model: LoadedModel) -> bool:
    """Whether rows in give rows out, of known sizes, small enough to be printed for a whole batch."""
    spec = model.spec
    return (
        len(spec.inputs) == 1
        and spec.batched
        and not spec.whole
        and model.answer_is_bounded
        and model.answer_bytes * model.batcher.rules.max_batch_size <= MOST_BATCH_ANSWER_BYTES
    )


def _form(
    kind: Kind, request: HttpRequest, body: bytes, model: LoadedModel, parser: simdjson.Parser, *, most: int
) -> BodyForm | None:
    verb = request.route.verb
    replies = _replies(request, model)
    if model.tokenizer is not None:
        if replies is None or kind not in {"json", "text"}:
            return None
        if kind == "text":  # because of the headers, not of this body
            return TextRows(model, replies=replies) if kind_of(request, b"{", model) == "text" else None
        return text_json_form(model, body, replies) if verb == "predict" else None
    elements = model.spec.inputs[0].elements
    if kind == "json" and elements > len(body):  # a number takes a byte at least
        return None
    if verb == "infer":
        if request.json_length is None:
            return infer_json_form(model, body, parser, most=most)
        return infer_binary_form(model, body, request.json_length, most=most)
    if replies is None or (kind == "json" and verb != "predict"):
        return None
    if kind == "json":
        return json_form(model, body, parser, most=most)
    if kind == "tensor":
        return RawRows(model, most=most, replies=replies)
    return ImageRows(model, replies) if kind == "image" and elements <= INLINE_PIXELS else None


def _replies(request: HttpRequest, model: LoadedModel) -> RowReplies | None:
    if request.route.verb == "predict":
        return Predictions()
    if request.route.verb != "classify":
        return None
    replies = Classes(model, top_k_of(request.query))
    return replies if replies.top_k * model.batcher.rules.max_batch_size <= MOST_BATCH_LABELS else None


def _may_be_compressed(request: HttpRequest, model: LoadedModel, reply_bytes: int) -> bool:
    """Whether the reply to another instance may be long enough to be compressed."""
    most = reply_bytes + LONGEST_NUMBER * sum(prod(output.shape) for output in model.spec.outputs)
    if request.route.verb == "classify":  # the labels of the other instance may be longer
        most += len(orjson.dumps(model.labels()))
    return most >= COMPRESS_FROM_BYTES
