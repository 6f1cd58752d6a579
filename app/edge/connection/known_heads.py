"""Heads of requests that were parsed and checked before, byte by byte the same."""

from typing import NamedTuple
from weakref import WeakValueDictionary

import simdjson

from app.edge.call import Route
from app.edge.respond import Header
from app.edge.rest.plain_forms import form_of
from app.edge.rest.request import HttpRequest
from app.edge.rest.row_forms import RowForm
from app.loaded import LoadedModel

_MOST = 4_096
_MOST_BYTES = 2_048
END = b"\r\n\r\n"


class KnownHead(NamedTuple):
    """What a head says.

    Attributes:
        head: with the empty line.
        route: the target.
        query: after the question mark.
        length: bytes of the body.
        form: of its plain bodies.
    """

    head: bytes
    route: Route
    query: bytes
    length: int
    form: RowForm

    @property
    def headers(self) -> list[Header]:
        """Names in lower case, as the parser gives them; for the few requests that need them."""
        lines = [line.partition(b":") for line in self.head.split(b"\r\n")[1:-2]]
        return [(name.lower(), value.strip(b" \t")) for name, _, value in lines]


class KnownHeads:
    """The heads that clients send again and again. Parsing one again gives the same, and costs as much as an answer.

    A head is known from its third request on: one that contains an id is never sent again. A body that is not plain
    does not prove that none is: of the bodies of a head that is not known, the 2nd, 4th, 8th and so on are examined.
    """

    def __init__(self) -> None:
        self._known: dict[bytes, KnownHead] = {}
        self._seen: dict[int, int] = {}  # hash of a head -> requests that were answered
        self._parser = simdjson.Parser()
        self._forms: WeakValueDictionary[tuple[object, ...], RowForm] = WeakValueDictionary()

    def get(self, head: bytes) -> KnownHead | None:
        """What a head says, with the empty line; None if it must be parsed."""
        return self._known.get(head)

    def learn(self, head: bytes, request: HttpRequest, model: LoadedModel, *, reply_bytes: int) -> None:
        """Remember the head of a request that was parsed, admitted and answered; its body has its Content-Length.

        Args:
            head: with the empty line.
            request: with its body.
            model: the version that answered.
            reply_bytes: size of the body of the reply.
        """
        body = request.body or b""
        if len(head) > _MOST_BYTES:
            return
        key = hash(head)
        count = self._seen.get(key, 0) + 1
        if count == 1 and len(self._seen) >= _MOST:
            self._seen.clear()
        self._seen[key] = count
        was_known = self._known.pop(head, None) is not None  # of another version
        if not was_known and (count == 1 or count & (count - 1)):
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
        self._known[head] = KnownHead(head, request.route, request.query, len(body), form)
