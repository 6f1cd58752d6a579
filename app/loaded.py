"""A loaded model version: its contract, its batcher, and the conversion of images and texts to instances."""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from math import prod
from time import monotonic
from typing import Any

import numpy as np
import numpy.typing as npt

from app.awaited_state import AwaitedState
from app.batching.admission import Admission
from app.batching.batcher import Batcher
from app.batching.instances import Instances
from app.batching.work import Answer, RequestOptions
from app.contract.graph_facts import SIGNATURE
from app.contract.images.image_file import Room, no_bound
from app.contract.labels import best_classes
from app.contract.model_spec import ModelSpec
from app.contract.said import NOTHING_SAID, Said
from app.contract.steps import ImagePreprocessing
from app.contract.tokenizer import Tokenizer, text_from_bytes
from app.contract.transforms import image_to_instance
from app.drift.typical import Typical
from app.drift.watch import DriftWatch
from app.errors import InvalidInput, TooLarge
from app.repository.batching_policy import BatchingPolicy
from app.runtime.warmup import LatencyCurve
from app.types import Array, Tensors


class Leases:
    """Counts the requests that use a version, from path to reply, so that no request loses its version.

    Used as a context manager by each request; only on the event loop.
    """

    def __init__(self) -> None:
        self.used_at = monotonic()  # of the last request, or of the load
        self._count = 0
        self._none = AwaitedState()

    def __enter__(self) -> None:
        self._count += 1
        self.used_at = monotonic()

    def __exit__(self, *_: object) -> None:
        self._count -= 1
        if self._count == 0:
            self._none.reach()

    @property
    def in_use(self) -> bool:
        """Whether a request uses the version."""
        return self._count > 0

    async def ended(self) -> None:
        """Return once no request uses the version."""
        if self._count:
            await self._none.wait()


def unloaded(name: str, version: int) -> str:
    """Why a request is not answered any more once its version is unloaded, in words."""
    return f"model {name!r} version {version} was unloaded before this request was answered; try again"


@dataclass(frozen=True, kw_only=True)
class LoadedModel:
    """One version that is ready to serve. A request has a lease on it from path to reply.

    Attributes:
        name, version: as in the repository.
        spec: the contract.
        tokenizer: for text models.
        classes: names of the scores; empty if the model does not classify.
        batcher, admission: the queue.
        curve: latency measured at warm-up.
        golden_difference: largest difference from Keras seen by the golden gate; None without golden samples.
        unverified: why its answers are not verified; empty if they are.
        provider: execution provider that runs it.
        default_timeout_s: timeout of a request without its own.
        pixel_limit: most pixels of an image.
        max_text_characters: most characters of a text.
        batching, load_settings: from serving.json at the time of loading.
        leases: counts the requests that use it.
        memory_bytes: what it takes, see ``MemoryNeeds``; that of its signatures included.
        memory_is_measured: whether that was measured.
        memo: cache of the edge for this version, dropped with it.
        signatures: what answers the other signatures of a SavedModel, by their names.
        signature: the name of the one that this model answers.
        defaults: of its optional inputs, by name, as TensorFlow's JSON of a TensorProto; those that are known.
        typical: of its inputs, by name, values of the training data; those that are known.
        said: what its publisher says of it.
        drift: compares what it answers with its training data; None if that is off, or its baseline has nothing for it.
    """

    name: str
    version: int
    spec: ModelSpec
    tokenizer: Tokenizer | None
    classes: tuple[str, ...]
    batcher: Batcher
    admission: Admission
    curve: LatencyCurve
    golden_difference: float | None
    provider: str
    default_timeout_s: float
    pixel_limit: int
    max_text_characters: int
    unverified: str = ""
    batching: BatchingPolicy = field(default_factory=BatchingPolicy)
    load_settings: tuple[object, ...] = ()
    leases: Leases = field(default_factory=Leases)
    memory_bytes: int = 0
    memory_is_measured: bool = True
    memo: dict[bytes, Any] = field(default_factory=dict)
    signatures: "Mapping[str, LoadedModel]" = field(default_factory=dict)
    signature: str = SIGNATURE
    defaults: Mapping[str, Any] = field(default_factory=dict)
    typical: Mapping[str, Typical] = field(default_factory=dict)
    said: Said = NOTHING_SAID
    drift: DriftWatch | None = None

    @property
    def with_signatures(self) -> "tuple[LoadedModel, ...]":
        """This model, and those of the other signatures: all with a queue."""
        return (self, *self.signatures.values())

    @property
    def instances(self) -> Instances:
        """The devices, the reasons for them, and whether they work."""
        return self.batcher.instances

    @property
    def sequence(self) -> str | None:
        """See ``ModelSpec.sequence``."""
        return self.spec.sequence

    @cached_property
    def answer_bytes(self) -> int:
        """Bytes of the outputs of one instance; a length that varies counts as 1."""
        return sum(
            output.numpy_dtype.itemsize * prod(size for size in output.shape if size != -1)
            for output in self.spec.outputs
        )

    @cached_property
    def answer_is_bounded(self) -> bool:
        """Whether the contract states the size of every output of an instance."""
        return not any(output.is_variable or output.is_string for output in self.spec.outputs)

    @cached_property
    def has_optional(self) -> bool:
        """Whether a request may leave out inputs."""
        return len(self.spec.required) < len(self.spec.inputs)

    @cached_property
    def _shapes_vary(self) -> bool:
        return self.has_optional or (self.sequence is None and any(each.is_variable for each in self.spec.inputs))

    def shape_key(self, inputs: Tensors) -> Hashable:
        """Equal for inputs that may be stacked: padding is exact only for texts, so other shapes must be equal.

        A request that gives an optional input runs by itself: the key differs from every other one.
        """
        if not self._shapes_vary:
            return None
        if self.gives_optional(inputs):
            return object()
        return tuple(inputs[tensor.name].shape[1:] for tensor in self.spec.required)

    def gives_optional(self, inputs: Tensors) -> bool:
        """Whether a request gives an optional input: its instances may influence one another."""
        return len(inputs) > len(self.spec.required)

    def as_sent(self, outputs: Answer) -> Answer:
        """Outputs (rows, *shape) as a client gets them: those of a model without a batch dimension have none."""
        if self.spec.batched:
            return outputs
        return {name: values.reshape(values.shape[1:]) for name, values in outputs.items()}

    def timeout_s(self, options: RequestOptions) -> float:
        """Seconds after the first byte of a request for which its client waits for the answer."""
        return self.default_timeout_s if options.timeout_s is None else options.timeout_s

    def instance_from_image(self, data: bytes, *, room: Room = no_bound) -> npt.NDArray[np.uint8]:
        """One instance of the image input from an encoded image.

        Args:
            data: the file.
            room: reserves the bytes that decoding needs.

        Raises:
            InvalidInput: the model takes no images, or the bytes break a rule of ``transforms``.
        """
        step = self.spec.preprocessing
        if not isinstance(step, ImagePreprocessing):
            raise InvalidInput(f"model {self.name!r} takes no images; {self.what_it_takes()}")
        return image_to_instance(
            data, preprocessing=step, target=self.spec.input(step.input), pixel_limit=self.pixel_limit, room=room
        )

    def instance_from_text(self, text: str | bytes) -> npt.NDArray[np.int32]:
        """One instance of the text input, not padded.

        Args:
            text: as str, or as bytes in UTF-8.

        Raises:
            InvalidInput: the model takes no text, or the text is empty.
            WrongFormat: not UTF-8.
            TooLarge: more characters than the model accepts.
        """
        if self.tokenizer is None:
            raise InvalidInput(f"model {self.name!r} takes no text; {self.what_it_takes()}")
        if isinstance(text, bytes):
            text = text_from_bytes(text)
        if len(text) > self.max_text_characters:
            raise TooLarge(f"text has {len(text)} characters; at most {self.max_text_characters} are accepted")
        if not text.strip():
            raise InvalidInput("text is empty; send at least one word")
        return self.tokenizer.encode(text)

    def input_for_media(self) -> str:
        """Name of the input that images or texts feed; raises InvalidInput without one."""
        if self.spec.preprocessing is None:
            raise InvalidInput(f"model {self.name!r} takes neither images nor text; {self.what_it_takes()}")
        return self.spec.preprocessing.input

    def what_it_takes(self) -> str:
        """The accepted inputs, for error messages."""
        inputs = ", ".join(tensor.in_words for tensor in self.spec.inputs)
        step = self.spec.preprocessing
        media = {"image": "images or ", "text": "text or "}[step.kind] if step is not None else ""
        return f"it takes {media}tensors: {inputs}"

    def ranked(self, scores: Array, *, top_k: int) -> list[list[tuple[str, float]]]:
        """Labels with their scores, best first, for each row of (rows, classes)."""
        labels = self.labels()
        best = best_classes(scores, min(top_k, scores.shape[1]))
        return [[(labels[i], scores[row, i]) for i in top] for row, top in enumerate(best)]

    def score_output(self) -> str:
        """Name of the output with one probability per label; raises InvalidInput if the model does not classify."""
        self.labels()
        assert self.spec.postprocessing is not None
        return self.spec.postprocessing.output

    def value_output(self) -> str:
        """Name of the output with one number per instance; raises InvalidInput if the model does not regress."""
        outputs = self.spec.outputs
        if self.classes or len(outputs) > 1 or outputs[0].shape not in {(), (1,)}:
            does = "use :classify" if self.classes else "use :predict"
            raise InvalidInput(f"model {self.name!r} does not answer with one number per instance; {does}")
        return outputs[0].name

    def labels(self) -> tuple[str, ...]:
        """The classes; raises InvalidInput if the model does not classify."""
        if not self.classes:
            raise InvalidInput(f"model {self.name!r} does not classify; use :predict")
        return self.classes
