"""Answers ``generate`` and ``generate_stream``: a text in one piece, or in events while it is generated."""

import logging
from collections.abc import AsyncIterator

from app.batching.work import Timings
from app.edge.http.body_decoding import BodyDecoding
from app.edge.http.disconnects import DisconnectWatch
from app.edge.http.incoming import EdgeLimits, Incoming
from app.edge.respond import Reply, error_body, status_of
from app.edge.rest.generate import EVENT_STREAM, event, events, print_text
from app.errors import ServingError
from app.loaded import LoadedModel
from app.serving.generation import generate
from app.types import Clock

log = logging.getLogger("atelier.edge")


class TextAnswers:
    """Generates texts for requests.

    Args:
        limits: on bodies.
        decoding: from bodies to prompts.
        watch: ends a text whose client has left.
        clock: monotonic seconds.
    """

    def __init__(self, *, limits: EdgeLimits, decoding: BodyDecoding, watch: DisconnectWatch, clock: Clock) -> None:
        self._limits = limits
        self._decoding = decoding
        self._watch = watch
        self._clock = clock

    async def whole(self, model: LoadedModel, incoming: Incoming, timings: Timings) -> Reply:
        """Read, decode, generate all of the text, encode."""
        pieces = await self._pieces(model, incoming, timings)
        watched = incoming.watched(self._watch)
        try:
            return print_text("".join([piece async for piece in pieces]), model)
        finally:
            if watched is not None:
                watched.stop()

    async def stream(self, model: LoadedModel, incoming: Incoming, timings: Timings) -> int:
        """Send the text in events as it is generated; the status code, which the first event decides."""
        assert incoming.send is not None
        send = incoming.send
        pieces = await self._pieces(model, incoming, timings)
        watched = incoming.watched(self._watch)
        started = False
        try:
            async for data in events(pieces, model):
                if not started:
                    await send(
                        {
                            "type": "http.response.start",
                            "status": 200,
                            "headers": [*EVENT_STREAM, *incoming.visit.headers],
                        }
                    )
                    started = True
                await send({"type": "http.response.body", "body": data, "more_body": True})
        except ServingError as error:
            if not started:
                raise
            log.warning("generate_stream of model %s ended early: %s", model.name, error.message)
            await send({"type": "http.response.body", "body": event(error_body(error.message))})
            return status_of(error)
        finally:
            if watched is not None:
                watched.stop()
        if not started:  # nothing to say: the text ends where it begins
            await send(
                {"type": "http.response.start", "status": 200, "headers": [*EVENT_STREAM, *incoming.visit.headers]}
            )
        await send({"type": "http.response.body", "body": b""})
        return 200

    async def _pieces(self, model: LoadedModel, incoming: Incoming, timings: Timings) -> AsyncIterator[str]:
        """Read and decode a generate request; the pieces of its text, still to be generated."""
        assert incoming.began is not None
        heads, body = await incoming.read(self._limits)
        have_body = self._clock()
        prompt, sampling, options = await self._decoding.prompt(incoming, heads, body, model)
        timings.read, timings.decode = have_body - incoming.began, self._clock() - have_body
        return generate(model, prompt, sampling, options, timings, clock=self._clock)
