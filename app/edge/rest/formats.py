"""The one place that picks the wire format of a request: by its path, its headers and how its body starts."""

from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import parse_qs

from app.batching.work import Answer
from app.edge.codec import media
from app.edge.codec.encoded import Encoded
from app.edge.codec.hints import how_to_send
from app.edge.codec.json_tensor import LOCKING_BYTES, JsonReader
from app.edge.respond import Reply
from app.edge.rest import oip as v2
from app.edge.rest import tfs as v1
from app.edge.rest.exchange import Exchange, Heads
from app.edge.rest.routes import Route
from app.errors import InvalidInput
from app.loaded import LoadedModel
from app.types import Array

DEFAULT_TOP_K = 10
# Larger bodies are parsed in a thread of the pool, so that one of them does not hold up everybody else's. An image or a
# text is not parsed at all, only decoded.
INLINE_BYTES = {"json": 65_536, "tensor": 65_536, "form": 16_384, "multipart": 4_096}


@dataclass(slots=True)
class Request:
    """All of a request but its model.

    Attributes:
        route: from its path.
        heads: from its headers.
        query: after the question mark.
        body: inflated.
        kind: what the body is.
    """

    route: Route
    heads: Heads
    query: bytes
    body: bytes
    kind: media.Kind

    @property
    def is_small(self) -> bool:
        """Whether parsing costs less than handing it to a thread would."""
        return len(self.body) <= INLINE_BYTES.get(self.kind, len(self.body))

    @property
    def is_alone(self) -> bool:
        """Whether it is parsed alone, see ``DecodePool.run``."""
        return self.kind == "json" and len(self.body) > LOCKING_BYTES


def kind_of(route: Route, heads: Heads, body: bytes, model: LoadedModel) -> media.Kind:
    """What the body is.

    Raises:
        InvalidInput: a Content-Type that no route reads.
    """
    if route.api == "v2":
        return "json" if heads.json_length is None else "tensor"
    return media.kind_of(heads.content_type, body, model)


def parse(
    request: Request, model: LoadedModel, reader: JsonReader, check: Callable[[], None] = lambda: None
) -> Exchange:
    """A request of any protocol as tensors, and images and texts that are still to be decoded.

    Args:
        request, model: what is asked of whom.
        reader: for JSON.
        check: see ``parse_media``.

    Raises:
        InvalidInput: which value breaks which rule.
    """
    verb = request.route.verb
    if verb == "classify":
        reply = _classify(request, model)
    elif verb == "regress":
        reply = _regress(model)
    if verb == "infer":
        return v2.parse_infer(request.body, request.heads.json_length, model, reader)
    if not request.body:
        raise InvalidInput(f"body is empty; {how_to_send(model)}")
    if verb == "predict":
        inputs, layout = _v1_predict(request, model, reader, check)
        return Exchange(inputs, lambda answer: Reply(200, v1.print_predict(answer, layout)))
    if request.kind == "json":
        return Exchange(v1.parse_examples(reader.read(request.body), model), reply)
    return Exchange(_media(request, model, check), reply)


def _v1_predict(
    request: Request, model: LoadedModel, reader: JsonReader, check: Callable[[], None]
) -> tuple[dict[str, Array | Encoded], v1.Layout]:
    if request.kind == "json":
        return v1.parse_predict(reader.read(request.body), model)
    return _media(request, model, check), "row"


def _media(request: Request, model: LoadedModel, check: Callable[[], None]) -> dict[str, Array | Encoded]:
    return media.parse_media(request.kind, request.heads.content_type, request.body, model, check=check)


def _classify(request: Request, model: LoadedModel) -> v1.Print:
    name, top_k = model.score_output(), min(_top_k(request.query), len(model.labels()))

    def reply(answer: Answer) -> Reply:
        return Reply(200, v1.print_classify(model.ranked(answer[name], top_k=top_k)))

    return reply


def _regress(model: LoadedModel) -> v1.Print:
    name = model.value_output()

    def reply(answer: Answer) -> Reply:
        return Reply(200, v1.print_regress(answer[name]))

    return reply


def _top_k(query: bytes) -> int:
    """``?top_k=``: most labels a row of ``:classify`` answers with."""
    fields = parse_qs(query.decode("latin-1"))
    if unknown := fields.keys() - {"top_k"}:
        raise InvalidInput(f"query parameter {min(unknown)!r} is unknown; :classify takes top_k")
    text = fields.get("top_k", [str(DEFAULT_TOP_K)])[-1]
    if not text.isascii() or not text.isdigit() or not int(text[:9]) >= 1:
        raise InvalidInput(f"top_k is {text!r}; send a whole number of at least 1")
    return int(text[:9])
