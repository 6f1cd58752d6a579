"""The one place that selects the wire format of a request: by its path, its headers and the start of its body."""

from collections.abc import Callable
from urllib.parse import parse_qs

from app.batching.work import Answer
from app.edge.call import InferenceRequest
from app.edge.codec import media
from app.edge.codec.hints import how_to_send
from app.edge.codec.json_tensor import JsonReader
from app.edge.respond import Reply
from app.edge.rest import oip as v2
from app.edge.rest import tfs as v1
from app.edge.rest.explain import explain_request
from app.edge.rest.generate_tensors import parse_generate_tensors
from app.edge.rest.request import HttpRequest
from app.edge.rest.routes import EXPLAIN
from app.edge.shared_memory.regions import Memory
from app.errors import InvalidInput, quoted
from app.loaded import LoadedModel

DEFAULT_TOP_K = 10


def kind_of(request: HttpRequest, body: bytes, model: LoadedModel) -> media.Kind:
    """The kind of the body.

    Args:
        request: its path and headers.
        body: inflated.
        model: a body without a useful Content-Type is an image or a text for it.

    Raises:
        InvalidInput: an unsupported Content-Type.
    """
    if request.route.api == "v2":
        return "json" if request.json_length is None else "tensor"
    return media.kind_of(request.content_type, body, model)


def parse(
    request: HttpRequest,
    body: bytes,
    kind: media.Kind,
    model: LoadedModel,
    reader: JsonReader,
    memory: Memory,
    check: Callable[[], None] = lambda: None,
) -> InferenceRequest[Reply]:
    """A request of any wire format as tensors, and images and texts that are not decoded yet.

    Args:
        request: its path, query and headers.
        body: inflated.
        kind: kind of the body.
        model: the version that answers.
        reader: parses JSON.
        memory: shared with the client.
        check: see ``parse_media``.

    Raises:
        InvalidInput: names the value and the rule it breaks.
    """
    verb = request.route.verb
    if verb == "classify":
        reply = _classify(request, model)
    elif verb == "regress":
        reply = _regress(model)
    if verb == "infer":
        return v2.parse_infer(body, request.json_length, model, reader, memory)
    if not body:
        raise InvalidInput(f"body is empty; {how_to_send(model)}")
    if verb == EXPLAIN:
        return _explain(request, body, kind, model, reader, check)
    if verb in {"generate", "generate_stream"}:
        return parse_generate_tensors(body, reader, model, is_stream=verb == "generate_stream")
    if verb == "predict":
        layout: v1.Layout = "row"
        if kind == "json":
            document = reader.read(body)
            signature = v1.signature_of(document, model)
            inputs, layout = v1.parse_predict(document, signature)
            chosen = None if signature is model else signature
            return InferenceRequest(inputs, lambda answer: Reply(200, v1.print_predict(answer, layout)), model=chosen)
        inputs = media.parse_media(kind, request.content_type, body, model, check=check)
        return InferenceRequest(inputs, lambda answer: Reply(200, v1.print_predict(answer, layout)))
    if kind == "json":
        return InferenceRequest(v1.parse_examples(reader.read(body), model), reply)
    return InferenceRequest(media.parse_media(kind, request.content_type, body, model, check=check), reply)


def _explain(
    request: HttpRequest,
    body: bytes,
    kind: media.Kind,
    model: LoadedModel,
    reader: JsonReader,
    check: Callable[[], None],
) -> InferenceRequest[Reply]:
    if kind != "json":
        inputs = media.parse_media(kind, request.content_type, body, model, check=check)
        return explain_request(inputs, request.query, None, None)
    document = reader.read(body)
    signature = v1.signature_of(document, model)
    named, _ = v1.parse_predict(document, signature)
    return explain_request(named, request.query, document, None if signature is model else signature)


def _classify(request: HttpRequest, model: LoadedModel) -> v1.Print:
    name, top_k = model.score_output(), min(top_k_of(request.query), len(model.labels()))

    def reply(answer: Answer) -> Reply:
        return Reply(200, v1.print_classify(model.ranked(answer[name], top_k=top_k)))

    return reply


def _regress(model: LoadedModel) -> v1.Print:
    name = model.value_output()

    def reply(answer: Answer) -> Reply:
        return Reply(200, v1.print_regress(answer[name]))

    return reply


def top_k_of(query: bytes) -> int:
    """``?top_k=``: most labels per row in the answer of ``:classify``.

    Raises:
        InvalidInput: names the parameter or the value.
    """
    fields = parse_qs(query.decode("latin-1"))
    if unknown := fields.keys() - {"top_k"}:
        raise InvalidInput(f"query parameter {quoted(min(unknown))} is unknown; :classify takes top_k")
    text = fields.get("top_k", [str(DEFAULT_TOP_K)])[-1]
    if not text.isascii() or not text.isdigit() or not int(text[:9]) >= 1:
        raise InvalidInput(f"top_k is {text!r}; send a whole number of at least 1")
    return int(text[:9])
