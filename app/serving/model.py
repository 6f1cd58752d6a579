"""A loaded model version: its contract, its batcher and the way from an image or a text to an instance."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from app.contract.model_spec import ImagePreprocessing, ModelSpec
from app.contract.tokenizer import Tokenizer
from app.contract.transforms import image_to_instance
from app.errors import InvalidInput
from app.runtime.backend import Array
from app.runtime.warmup import LatencyCurve
from app.serving.admission import Admission
from app.serving.batcher import Batcher


@dataclass(frozen=True, kw_only=True)
class LoadedModel:
    """One version that is ready to serve. A request holds it from its path to its reply.

    Attributes:
        name, version: as in the repository.
        spec: the contract.
        tokenizer: for text models.
        classes: names of the scores; empty if the model does not classify.
        batcher, admission: the queue.
        curve: latency measured at warm-up.
        golden_difference: largest difference from Keras seen by the golden gate.
        provider: execution provider that runs it.
        default_timeout_s: deadline of a request that names none.
        pixel_limit: most pixels of an image.
    """

    name: str
    version: int
    spec: ModelSpec
    tokenizer: Tokenizer | None
    classes: tuple[str, ...]
    batcher: Batcher
    admission: Admission
    curve: LatencyCurve
    golden_difference: float
    provider: str
    default_timeout_s: float
    pixel_limit: int

    def instance_from_image(self, data: bytes) -> npt.NDArray[np.uint8]:
        """One instance of the image input from an encoded image.

        Raises:
            InvalidInput: the model takes no images, or the bytes break a rule of ``transforms``.
        """
        step = self.spec.preprocessing
        if not isinstance(step, ImagePreprocessing):
            raise InvalidInput(f"model {self.name!r} takes no images; {self.what_it_takes()}")
        return image_to_instance(
            data, preprocessing=step, target=self.spec.input(step.input), pixel_limit=self.pixel_limit
        )

    def instance_from_text(self, text: str) -> npt.NDArray[np.int32]:
        """One instance of the text input, not padded.

        Raises:
            InvalidInput: the model takes no text, or the text is empty.
        """
        if self.tokenizer is None:
            raise InvalidInput(f"model {self.name!r} takes no text; {self.what_it_takes()}")
        if not text.strip():
            raise InvalidInput("text is empty; send at least one word")
        return self.tokenizer.encode(text)

    def input_for_media(self) -> str:
        """Name of the input that images or texts feed; InvalidInput if there is none."""
        if self.spec.preprocessing is None:
            raise InvalidInput(f"model {self.name!r} takes neither images nor text; {self.what_it_takes()}")
        return self.spec.preprocessing.input

    def what_it_takes(self) -> str:
        """What to send instead, for error messages."""
        inputs = ", ".join(tensor.in_words for tensor in self.spec.inputs)
        step = self.spec.preprocessing
        media = {"image": "images or ", "text": "text or "}[step.kind] if step is not None else ""
        return f"it takes {media}tensors: {inputs}"

    def ranked(self, scores: Array, *, top_k: int) -> list[list[tuple[str, float]]]:
        """Labels with their scores, best first, for each row of (rows, classes)."""
        labels = self.labels()
        order = np.argsort(-scores, axis=1, kind="stable")[:, :top_k]
        return [[(labels[i], scores[row, i]) for i in best] for row, best in enumerate(order)]

    def score_output(self) -> str:
        """Name of the output that holds one probability per label; InvalidInput if the model does not classify."""
        self.labels()
        assert self.spec.postprocessing is not None
        return self.spec.postprocessing.output

    def labels(self) -> tuple[str, ...]:
        """The classes; InvalidInput if the model does not classify."""
        if not self.classes:
            raise InvalidInput(f"model {self.name!r} does not classify; use :predict")
        return self.classes
