"""Plain requests with one text: as the body, or as the only instance of JSON."""

import re

import orjson

from app.edge.codec.encoded import INLINE_TEXT_BYTES, Encoded, decode
from app.edge.joint.row_forms import BodyForm, Rows
from app.edge.joint.row_replies import RowReplies
from app.errors import InvalidInput
from app.loaded import LoadedModel
from app.types import Tensors

MOST_TEXT_BYTES = 4_096
"""Most bytes of a text that is split into words on the event loop together with others."""
_BEFORE = re.compile(rb'[ \t\r\n]*\{[ \t\r\n]*"instances"[ \t\r\n]*:[ \t\r\n]*\[[ \t\r\n]*(?=")')
_AFTER = re.compile(rb"[ \t\r\n]*\][ \t\r\n]*\}[ \t\r\n]*")


class TextRows(BodyForm):
    """A text as the body of ``:predict`` or ``:classify``."""

    most_bytes = INLINE_TEXT_BYTES

    def rows(self, body: bytes) -> Rows | None:
        """The whole body."""
        return (body, 1) if len(body) <= MOST_TEXT_BYTES else None

    def stack(self, parts: list[bytes], count: int) -> Tensors:
        """The tokens of all texts, padded at their end: int32 (count, longest)."""
        return self._tokens(list(parts))

    def _tokens(self, texts: list[bytes | str]) -> Tensors:
        model = self.model()
        assert model is not None
        return {self._tensor.name: decode(Encoded(texts), model)}


class TextJsonRows(TextRows):
    """``:predict`` with ``{"instances": ["..."]}`` of one text as its body.

    Args:
        model: the version.
        before, after: the body around the text, character by character.
        replies: prints the replies.
    """

    def __init__(self, model: LoadedModel, before: bytes, after: bytes, replies: RowReplies) -> None:
        super().__init__(model, before, after, replies=replies)
        self._before, self._after = before, after

    def rows(self, body: bytes) -> Rows | None:
        """The text with its quotes."""
        if len(body) > MOST_TEXT_BYTES or not (body.startswith(self._before) and body.endswith(self._after)):
            return None
        text = body[len(self._before) : len(body) - len(self._after)]
        return (text, 1) if len(text) > 1 and text[:1] == text[-1:] == b'"' else None

    def stack(self, parts: list[bytes], count: int) -> Tensors:
        """See ``TextRows``. Each text is parsed by itself: quotes of several could match each other."""
        try:
            texts = [orjson.loads(part) for part in parts]
        except orjson.JSONDecodeError as error:
            raise InvalidInput(f"JSON Parse error: {error}") from None
        return self._tokens(texts)


def text_json_form(model: LoadedModel, body: bytes, replies: RowReplies) -> TextJsonRows | None:
    """The form of a ``:predict`` body that is JSON; None if it is not of this form."""
    found = _BEFORE.match(body)
    if found is None or not _AFTER.fullmatch(body, end := body.rfind(b'"') + 1):
        return None
    before, after = found[0], body[end:]
    return TextJsonRows(model, before, after, replies)
