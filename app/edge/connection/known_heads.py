"""Heads of requests that were parsed and checked before, the same byte by byte but for the number in Content-Length."""

from typing import NamedTuple
from weakref import WeakValueDictionary

import simdjson

from app.edge.call import Route
from app.edge.codec.media import INLINE_BYTES
from app.edge.joint.plain_forms import form_of
from app.edge.joint.row_forms import BodyForm
from app.edge.respond import Header
from app.edge.rest.request import HttpRequest
from app.loaded import LoadedModel

MOST_BODY_BYTES = INLINE_BYTES["json"]
"""Most bytes of a body that is answered together with others."""
_MOST = 4_096
_MOST_BYTES = 2_048
# Of one head, such as those of a client that writes its JSON in several ways.
_MOST_FORMS = 4
_LENGTH_FIELDS = (b"\r\nContent-Length: ", b"\r\ncontent-length: ")
_MOST_DIGITS = 8


class Head(NamedTuple):
    """A head that is not parsed.

    Attributes:
        template: with the empty line, without the number in Content-Length.
        at: place of that number.
        length: bytes of the body.
    """

    template: bytes
    at: int
    length: int


class KnownHead(NamedTuple):
    """What heads with the same template say.

    Attributes:
        before, after: the template, divided at the number in Content-Length.
        route: the target.
        query: after the question mark.
        forms: of plain bodies, all of the same version.
        is_last: whether the connection closes after the reply.
    """

    before: bytes
    after: bytes
    route: Route
    query: bytes
    forms: tuple[BodyForm, ...]
    is_last: bool

    def headers(self, length: int) -> list[Header]:
        """Names in lower case, as the parser gives them; for the few requests that need them."""
        head = b"%b%d%b" % (self.before, length, self.after)
        lines = [line.partition(b":") for line in head.split(b"\r\n")[1:-2]]
        return [(name.lower(), value.strip(b" \t")) for name, _, value in lines]

    def body_of(self, data: bytes) -> bytes | None:
        """The body of a request that is such a head and its whole body; None if the bytes are anything else."""
        before, after = self.before, self.after
        if not data.startswith(before):
            return None
        start = len(before)
        end = data.find(b"\r", start, start + _MOST_DIGITS + 1)
        if end < 0 or not data.startswith(after, end):
            return None
        body = data[end + len(after) :]
        return body if body and data[start:end] == b"%d" % len(body) else None

    def model(self) -> LoadedModel | None:
        """The version of the forms; None once it is unloaded."""
        return self.forms[0].model()


def read_head(head: bytes) -> Head | None:
    """A head, with the empty line, by its template and Content-Length; None if that is written in an unusual way."""
    for field in _LENGTH_FIELDS:
        at = head.find(field)
        if at >= 0:
            at += len(field)
            end = head.find(b"\r", at)
            digits = head[at:end]
            if not digits.isdigit() or len(digits) > _MOST_DIGITS or digits.startswith(b"0"):
                return None
            return Head(head[:at] + head[end:], at, int(digits))
    return None


class KnownHeads:
    """The heads that clients send again and again. Parsing one again gives the same, and costs as much as an answer.

    A head is known from its third request on: one that contains an id is never sent again. A body that is not plain
    does not prove that none is: of the bodies that are not of a known form, the 2nd, 4th, 8th and so on are examined.
    """

    def __init__(self) -> None:
        self._known: dict[bytes, KnownHead] = {}
        self._seen: dict[int, int] = {}  # hash of a head -> requests that were answered
        self._parser = simdjson.Parser()
        self._forms: WeakValueDictionary[tuple[object, ...], BodyForm] = WeakValueDictionary()

    def get(self, head: Head) -> KnownHead | None:
        """What a head says; None if it must be parsed."""
        return self._known.get(head.template)

    def learn(self, head: Head, request: HttpRequest, model: LoadedModel, *, reply_bytes: int, is_last: bool) -> None:
        """Remember the head of a request that was parsed, admitted and answered.

        Args:
            head: the length is that of the body.
            request: with its body.
            model: the version that answered.
            reply_bytes: size of the body of the reply.
            is_last: whether the head says that the connection closes.
        """
        if len(head.template) > _MOST_BYTES:
            return
        known, body = self._known.get(head.template), request.body or b""
        if known is not None and known.model() is model and any(form.rows(body) is not None for form in known.forms):
            return  # answered by itself for another reason
        key = hash(head.template)
        count = self._seen.get(key, 0) + 1
        if count == 1 and len(self._seen) >= _MOST:
            self._seen.clear()
        self._seen[key] = count
        if known is not None and known.model() is not model:
            known = None
            del self._known[head.template]
        elif count == 1 or count & (count - 1):
            return
        form = form_of(request, body, model, self._parser, reply_bytes=reply_bytes)
        if form is None:
            return
        same = self._forms.get(form.key)
        if same is not None and same.model() is model:
            form = same
        else:
            self._forms[form.key] = form
        if len(self._known) >= _MOST:
            self._known.clear()
        others = () if known is None else known.forms[: _MOST_FORMS - 1]
        before, after = head.template[: head.at], head.template[head.at :]
        self._known[head.template] = KnownHead(before, after, request.route, request.query, (form, *others), is_last)
