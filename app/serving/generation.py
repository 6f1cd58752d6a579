"""Generates text with a model that predicts the next token: one token per step, each through the model's batcher."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

import numpy as np

from app.batching.work import RequestOptions, Timings
from app.contract.steps import NextToken
from app.contract.tokenizer import UNKNOWN_ID, Tokenizer, continuation
from app.errors import DeadlineExceeded, InvalidInput
from app.loaded import LoadedModel
from app.serving.predictor import predict
from app.types import Array, Clock

DEFAULT_MAX_TOKENS = 64
LARGEST_MAX_TOKENS = 1024


@dataclass(frozen=True, slots=True)
class Prompt:
    """A text to continue, and its token ids: int32 (length,)."""

    text: str
    ids: Array


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the next token is sampled.

    Attributes:
        max_tokens: most tokens to add.
        temperature: exponent 1 / temperature on the probabilities; 0 always takes the likeliest token.
        top_k: number of likeliest tokens to sample from; 0 samples from all.
        seed: of the random numbers; the same seed gives the same text. None gives a different text each time.
        stop: the text ends before the first of these strings.
    """

    max_tokens: int = DEFAULT_MAX_TOKENS
    temperature: float = 1.0
    top_k: int = 0
    seed: int | None = None
    stop: tuple[str, ...] = ()


async def generate(
    model: LoadedModel,
    prompt: Prompt,
    sampling: Sampling,
    options: RequestOptions,
    timings: Timings,
    *,
    clock: Clock,
) -> AsyncIterator[str]:
    """Continue a text, token by token.

    The unknown token is never drawn. With a seed the answer does not depend on other requests in the batch.

    Args:
        model: a text model with a next-token output.
        prompt: the text to continue; the model uses its last tokens, up to the number that it accepts.
        sampling: how tokens are sampled.
        options: priority of every step; the timeout applies to the whole text.
        timings: seconds in the queue and in the backend are added here.
        clock: monotonic seconds.

    Yields:
        The text that each token adds, in order; joined they are the continuation.

    Raises:
        InvalidInput: the model does not predict tokens.
        DeadlineExceeded: the timeout passed before the text was complete.
        ServingError: see ``predict``.
    """
    tokenizer, output = next_token(model)
    ids = prompt.ids
    random = np.random.default_rng(sampling.seed)
    deadline = None if options.timeout_s is None else clock() + options.timeout_s
    before, held = prompt.text[-1:], ""
    for _ in range(sampling.max_tokens):
        left_s = None if deadline is None else deadline - clock()
        if left_s is not None and left_s <= 0:
            raise DeadlineExceeded(
                f"the timeout of {(options.timeout_s or 0) * 1e3:g} ms passed before the text was complete"
            )
        step = RequestOptions(priority=options.priority, timeout_s=left_s)
        prediction = await predict(model, {model.input_for_media(): ids[np.newaxis]}, step, clock=clock)
        timings.queue += prediction.queue_s
        timings.compute += prediction.compute_s
        token_id = draw(prediction.outputs[output][0], sampling, random)
        piece = continuation(before, tokenizer.names[token_id - UNKNOWN_ID])
        before = piece
        ids = np.append(ids, np.int32(token_id))[-tokenizer.max_length :]
        held += piece
        if (end := _first(held, sampling.stop)) is not None:
            if end:
                yield held[:end]
            return
        keep = _may_begin(held, sampling.stop)
        if len(held) > keep:
            yield held[: len(held) - keep]
            held = held[len(held) - keep :]
    if held:
        yield held


def draw(probabilities: Array, sampling: Sampling, random: np.random.Generator) -> int:
    """The id of the next token.

    Args:
        probabilities: float32 (ids - 1,), of the ids from 1 up; id 1, the unknown token, is left out.
        sampling: temperature and top_k.
        random: source of the random numbers; one is drawn per token, none at temperature 0.

    Source: temperature and top-k sampling, Fan et al., Hierarchical Neural Story Generation, arXiv:1805.04833.
    """
    known = probabilities[1:].astype(np.float64)
    first_id = UNKNOWN_ID + 1
    if sampling.temperature == 0 or not known.any():
        return first_id + int(known.argmax())
    if sampling.top_k and sampling.top_k < len(known):
        least = np.partition(known, -sampling.top_k)[-sampling.top_k]
        known[known < least] = 0.0
    # Relative to the likeliest, whose score stays 0: at a low temperature the other scores go to minus infinity, and
    # their weights to 0.
    with np.errstate(divide="ignore", over="ignore"):
        weights = np.exp(np.log(known / known.max()) / sampling.temperature)
    places = np.cumsum(weights)
    return first_id + int(np.searchsorted(places, random.random() * places[-1], side="right"))


def generates_text(model: LoadedModel) -> bool:
    """Whether a model continues texts."""
    return isinstance(model.spec.postprocessing, NextToken) and model.tokenizer is not None


def next_token(model: LoadedModel) -> tuple[Tokenizer, str]:
    """The tokenizer of a model, and its output that predicts the next token.

    Raises:
        InvalidInput: the model does not predict tokens.
    """
    step = model.spec.postprocessing
    if not isinstance(step, NextToken) or model.tokenizer is None:
        raise InvalidInput(f"model {model.name!r} does not generate text: its output does not predict the next token")
    return model.tokenizer, step.output


def _first(text: str, stops: tuple[str, ...]) -> int | None:
    """Index at which the first stop string starts; None without one."""
    found = [place for stop in stops if (place := text.find(stop)) >= 0]
    return min(found) if found else None


def _may_begin(text: str, stops: tuple[str, ...]) -> int:
    """Length of the longest suffix of ``text`` that may start a stop string and must not be sent yet."""
    longest = 0
    for stop in stops:
        for length in range(min(len(stop) - 1, len(text)), longest, -1):
            if text.endswith(stop[:length]):
                longest = length
                break
    return longest
