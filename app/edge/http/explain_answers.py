"""Answers ``:explain``: how the answer to each instance changes when parts of it are hidden."""

import asyncio

from app.edge.http.disconnects import DisconnectWatch
from app.edge.respond import Reply
from app.edge.rest.explain import ExplainRequest, print_explanations, print_heat_map, words_aside
from app.edge.rest.request import HttpRequest
from app.explain.explainer import Explainer
from app.loaded import LoadedModel
from app.types import Clock, Tensors

_REFUSED = frozenset({b"q=0", b"q=0.0", b"q=0.00", b"q=0.000"})
"""Weights by which a client refuses a form. Source: RFC 9110, 12.4.2."""


class ExplainAnswers:
    """Explains answers over HTTP.

    Args:
        explainer: of the process.
        watch: stops an explanation whose client has left.
        clock: monotonic seconds.
    """

    def __init__(self, *, explainer: Explainer, watch: DisconnectWatch, clock: Clock) -> None:
        self._explainer = explainer
        self._watch = watch
        self._clock = clock

    async def answer(self, call: HttpRequest, request: ExplainRequest, inputs: Tensors, model: LoadedModel) -> Reply:
        """Explain and encode, as JSON or as a picture."""
        began = self._clock()
        words = await words_aside(request.inputs, model)
        with self._watch.watching(call.receive):
            found = await self._explainer.explain(
                model, inputs, request.asked, began=call.began, options=request.options, words=words
            )
        call.timings.compute = self._clock() - began
        if _wants_picture(call):
            return await asyncio.to_thread(print_heat_map, found, model)
        return print_explanations(found, model, request.asked)


def _wants_picture(call: HttpRequest) -> bool:
    accepted = b",".join(value for name, value in call.headers if name == b"accept")
    kinds = [kind.lower().replace(b" ", b"").split(b";") for kind in accepted.split(b",")]
    return any(kind == b"image/png" and not _REFUSED.intersection(options) for kind, *options in kinds)
