"""The right answer to a recorded request, which a client sends later."""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from math import prod
from typing import Any, Protocol, TypeVar

import numpy as np

from app.contract.recordings.directory import RecordingDirectory
from app.contract.recordings.instance import Feedback
from app.contract.tensor_spec import TensorSpec
from app.errors import InvalidInput, Overloaded, RequestNotFound, Unavailable, quoted
from app.lifecycle.registry import Registry
from app.loaded import LoadedModel
from app.recording import lookup
from app.recording.ids import Place
from app.serving.generation import generates_text

log = logging.getLogger("atelier.recording")

T = TypeVar("T")

KEYS = ("request_id", "instance", "label", "value", "text")
ANSWERS = KEYS[2:]
"""The right answer: of a classifier, of any other model, of a text that was generated."""
LONGEST_TEXT = 65_536
"""Most characters of the right continuation of a text."""
MOST_WAITING = 64
"""Most clients that wait for the disk at a time; further ones get 503."""
# A reply may arrive before its request is written; so an id that is not found is looked for again.
LOOK_AGAIN_AFTER_S = (0.05, 0.2)
_LONGEST_ID = 128
_MOST_LABELS_NAMED = 20


class FeedbackObserver(Protocol):
    """Counts right answers; ``telemetry.metrics`` implements it."""

    def feedback_taken(self, name: str, version: int) -> None:
        """Called when one is on the disk."""
        ...


@dataclass(frozen=True, slots=True)
class FeedbackTaken:
    """A right answer that is on the disk.

    Attributes:
        model: name of the model.
        version: the version that answered the request.
        request_id: of the request.
        instance: index of the instance in the request.
    """

    model: str
    version: int
    request_id: str
    instance: int


class FeedbackDesk:
    """Takes right answers. The disk is read and written in a thread.

    Args:
        registry: knows which models are recorded, and their labels.
        observer: counts the answers.
        wall_clock: seconds since 1970.
    """

    def __init__(
        self, registry: Registry, observer: FeedbackObserver, *, wall_clock: Callable[[], float] = time.time
    ) -> None:
        self._registry = registry
        self._observer = observer
        self._wall_clock = wall_clock
        self._thread = ThreadPoolExecutor(1, "feedback")
        self._waiting = 0

    async def take(self, name: str, document: Mapping[str, Any]) -> FeedbackTaken:
        """Keep the right answer to a recorded request.

        Args:
            name: the model.
            document: ``{"request_id": ..., "label": ...}`` of a classifier, with "value" in place of "label" of any
                other model, and "instance" if the request had several.

        Raises:
            ModelNotFound: the model does not exist.
            RequestNotFound: the model or the request is not recorded, or the request is too old.
            InvalidInput: names the key, the value and the rule.
            AlreadyKnown: the right answer to this instance is known.
            Unavailable: no version of the model serves, the disk cannot be read or written, or too many clients wait
                for it.
        """
        self._registry.records(name)
        request_id, instance = _request_of(document)
        await self._registry.wake(name, None)
        recording = self._registry.recording(name)
        if recording is None or recording.directory is None:
            raise RequestNotFound(
                f"requests to model {name!r} are not recorded; serving.json of the model switches that on with "
                '"recording"'
            )
        directory = recording.directory
        place = await self._find(directory, request_id, instance)
        age_s = self._wall_clock() - place.time_s
        if age_s > recording.policy.feedback_within_s:
            raise RequestNotFound(
                f"request {quoted(request_id)} was answered {age_s:.0f} s ago; the right answer is accepted within "
                f"{recording.policy.feedback_within_s} s"
            )
        model = self._registry.models(name).get(place.version) or self._registry.get(name)
        feedback = _feedback(document, model, round(self._wall_clock(), 3))
        await self._run(lambda: lookup.add(directory, request_id, place.instance, feedback))
        self._observer.feedback_taken(name, place.version)
        return FeedbackTaken(name, place.version, request_id, place.instance)

    def close(self) -> None:
        """Wait for no thread any more."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _find(self, directory: RecordingDirectory, request_id: str, instance: int | None) -> Place:
        for wait_s in LOOK_AGAIN_AFTER_S:
            try:
                return await self._run(lambda: lookup.find(directory, request_id, instance))
            except RequestNotFound:
                await asyncio.sleep(wait_s)
        return await self._run(lambda: lookup.find(directory, request_id, instance))

    async def _run(self, call: Callable[[], T]) -> T:
        if self._waiting >= MOST_WAITING:
            raise Overloaded(f"{self._waiting} clients wait for the disk with the recordings; try again")
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, call)
        except OSError as error:
            log.error("feedback is refused: %s: %s", error.filename, error.strerror or error)
            raise Unavailable(f"the recordings cannot be read or written: {error.strerror or error}") from error
        finally:
            self._waiting -= 1


def _request_of(document: Mapping[str, Any]) -> tuple[str, int | None]:
    """The request id, and the instance if there is one."""
    if unknown := document.keys() - set(KEYS):
        raise InvalidInput(
            f"key {quoted(min(unknown))} is unknown; send {', '.join(map(repr, KEYS[:3]))}, 'value' or 'text'"
        )
    request_id, instance = document.get("request_id"), document.get("instance")
    if not isinstance(request_id, str) or not 0 < len(request_id) <= _LONGEST_ID:
        raise InvalidInput(
            f"'request_id' is {quoted(request_id)}; send the x-request-id of the reply, 1 to {_LONGEST_ID} characters"
        )
    if isinstance(instance, float) and instance.is_integer():
        instance = int(instance)  # JSON does not distinguish integers
    if instance is not None and (not isinstance(instance, int) or isinstance(instance, bool) or instance < 0):
        raise InvalidInput(f"'instance' is {quoted(instance)}; send a whole number from 0")
    if len(document.keys() & set(ANSWERS)) != 1:
        raise InvalidInput(
            "send the right answer as 'label', as 'value' if the model does not classify, or as 'text' to a text that "
            "was generated"
        )
    return request_id, instance


def _feedback(document: Mapping[str, Any], model: LoadedModel, now_s: float) -> Feedback:
    """The right answer, if it is one that the model could give."""
    if "text" in document:
        return Feedback(now_s, value=_text(document["text"], model))
    if "label" in document:
        label = document["label"]
        if not model.classes:
            raise InvalidInput(f"model {model.name!r} does not classify; send 'value' in place of 'label'")
        if not isinstance(label, str) or label not in model.classes:
            raise InvalidInput(f"model {model.name!r} has no label {quoted(label)}; {_known(model)}")
        return Feedback(now_s, label=label)
    if model.classes:
        raise InvalidInput(f"model {model.name!r} classifies; send 'label' in place of 'value'; {_known(model)}")
    outputs = {tensor.name: tensor for tensor in model.spec.outputs}
    value = document["value"]
    if not isinstance(value, dict):
        if len(outputs) > 1:
            raise InvalidInput(f"model {model.name!r} has several outputs: send 'value' by name: {sorted(outputs)}")
        _check(value, model.spec.outputs[0], "'value'")
        return Feedback(now_s, value=value)
    if unknown := value.keys() - outputs.keys():
        raise InvalidInput(f"'value' has {quoted(min(unknown))}; the outputs are {sorted(outputs)}")
    if not value:
        raise InvalidInput(f"'value' is empty; the outputs are {sorted(outputs)}")
    for name, each in value.items():
        _check(each, outputs[name], f"'value' of {name!r}")
    return Feedback(now_s, value=value)


def _text(text: Any, model: LoadedModel) -> str:
    """The right continuation of a text."""
    if not generates_text(model):
        raise InvalidInput(f"model {model.name!r} does not generate text; send 'label' or 'value' in place of 'text'")
    if not isinstance(text, str) or len(text) > LONGEST_TEXT:
        raise InvalidInput(f"'text' is {quoted(text)}; send a string of at most {LONGEST_TEXT} characters")
    return text


def _known(model: LoadedModel) -> str:
    labels = ", ".join(map(repr, model.classes[:_MOST_LABELS_NAMED]))
    more = len(model.classes) - _MOST_LABELS_NAMED
    return f"its labels are {labels}{f' and {more} more' if more > 0 else ''}"


def _check(value: Any, tensor: TensorSpec, place: str) -> None:
    """Refuse what is not finite numbers in the shape of an output."""
    try:
        numbers = np.array(value)
    except ValueError:  # lists of different lengths
        numbers = np.array(None)
    if numbers.dtype.kind not in "biuf" or tensor.is_string or not np.isfinite(numbers).all():
        raise InvalidInput(f"{place} is {quoted(value)}; send numbers: {tensor.instance_in_words}")
    is_one = numbers.shape == () and prod(tensor.shape) == 1
    fits = len(numbers.shape) == len(tensor.shape) and all(
        want in {-1, have} for have, want in zip(numbers.shape, tensor.shape, strict=True)
    )
    if not (is_one or fits):
        raise InvalidInput(f"{place} has shape {numbers.shape}; expected {tensor.instance_in_words}")
