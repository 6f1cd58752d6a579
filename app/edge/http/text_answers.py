"""Answers ``generate`` and ``generate_stream``: a text in one piece, or as events while it is generated."""

import logging
from collections.abc import AsyncIterator, Callable

from app.edge.http.body_decoding import BodyDecoding
from app.edge.http.disconnects import DisconnectWatch
from app.edge.respond import Message, Reply, error_body, status_of
from app.edge.rest.generate import EVENT_STREAM, event, events, print_text
from app.edge.rest.request import HttpRequest
from app.errors import ServingError
from app.loaded import LoadedModel
from app.serving.generation import generate
from app.types import Clock

log = logging.getLogger("atelier.edge")


Recorded = Callable[[HttpRequest, LoadedModel, str, AsyncIterator[str]], AsyncIterator[str]]


class TextAnswers:
    """Generates texts for requests.

    Args:
        decoding: from bodies to prompts.
        watch: stops a text whose client has left.
        recorded: see ``Answering.recorded_text``.
        clock: monotonic seconds.
    """

    def __init__(self, *, decoding: BodyDecoding, watch: DisconnectWatch, recorded: Recorded, clock: Clock) -> None:
        self._decoding = decoding
        self._recorded = recorded
        self._watch = watch
        self._clock = clock

    async def whole(self, request: HttpRequest, body: bytes, model: LoadedModel) -> Reply:
        """Decode, generate all of the text, encode."""
        pieces, request_id = await self._pieces(request, body, model)
        with self._watch.watching(request.receive):
            return print_text("".join([piece async for piece in pieces]), model, request_id)

    async def stream(self, request: HttpRequest, body: bytes, model: LoadedModel) -> None:
        """Send the text as events while it is generated; the first event decides the status code."""
        assert request.send is not None
        send = request.send
        start: Message | None = {
            "type": "http.response.start",
            "status": 200,
            "headers": [*EVENT_STREAM, *request.visit.headers],
        }
        pieces, request_id = await self._pieces(request, body, model)
        try:
            with self._watch.watching(request.receive):
                async for data in events(pieces, model, request_id):
                    if start is not None:
                        await send(start)
                        start = None
                    await send({"type": "http.response.body", "body": data, "more_body": True})
        except ServingError as error:
            if start is not None:
                raise
            log.warning(
                "generate_stream of model %s version %d ended early: %s",
                model.name,
                model.version,
                error.message,
                extra=request.visit.log_fields,
            )
            request.code = status_of(error)
            await send({"type": "http.response.body", "body": event(error_body(error.message))})
            return
        if start is not None:  # the generated text is empty
            await send(start)
        await send({"type": "http.response.body", "body": b""})

    async def _pieces(self, request: HttpRequest, body: bytes, model: LoadedModel) -> tuple[AsyncIterator[str], str]:
        """Decode a generate request. Returns an iterator that generates the pieces of its text, and its id."""
        have_body = self._clock()
        prompt, asked = await self._decoding.generation(request, body, model)
        request.has_own_timeout = asked.options.timeout_s is not None
        request.timings.decode = self._clock() - have_body
        generated = generate(model, prompt, asked.sampling, asked.options, request.timings, clock=self._clock)
        return self._recorded(request, model, asked.text, generated), asked.request_id
