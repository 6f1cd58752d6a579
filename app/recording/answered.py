"""An answered request that is to be recorded, and its lines."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app.batching.work import Prediction
from app.contract.labels import best_classes
from app.contract.recordings.instance import print_line
from app.contract.recordings.tensors import to_json
from app.contract.strings import held_bytes
from app.loaded import LoadedModel
from app.serving.validation import conform
from app.types import Array, Tensors

Texts = Mapping[str, Sequence[bytes | str]]
_OTHER_BYTES = 1_024  # of the objects of a request that waits


@dataclass(frozen=True, slots=True)
class Answered:
    """A request that was answered.

    Attributes:
        model: what answered; the version or one of its signatures.
        request_id: as the client knows it.
        protocol: as metrics name it.
        inputs: input name -> as decoded from the wire, see ``conform``.
        texts: of inputs that the client sent as texts: one for each instance.
        prediction: the answer.
        time_s: when, in seconds since 1970.
    """

    model: LoadedModel
    request_id: str
    protocol: str
    inputs: Tensors
    texts: Texts
    prediction: Prediction
    time_s: float

    @property
    def rows(self) -> int:
        """Instances."""
        return self.prediction.rows

    @property
    def nbytes(self) -> int:
        """Bytes of memory that it takes while it waits to be written."""
        tensors = (*self.inputs.values(), *self.prediction.outputs.values())
        texts = sum(len(text) for each in self.texts.values() for text in each)
        return _OTHER_BYTES + texts + sum(map(held_bytes, tensors))

    def lines(self) -> Iterator[bytes]:
        """One line for each instance."""
        model, spec = self.model, self.model.spec
        inputs = conform(self.inputs, spec)
        rows, outputs = self.rows, self.prediction.outputs
        texts = {name: each for name, each in self.texts.items() if len(each) == rows}
        best = self._best()
        for row in range(rows):
            if row:
                time.sleep(0)  # lets the event loop continue
            document: dict[str, Any] = {
                "request_id": self.request_id,
                "instance": row,
                "instances": rows,
                "time_s": self.time_s,
                "model": model.name,
                "version": model.version,
                "signature": model.signature,
                "protocol": self.protocol,
                "inputs": {name: _input(row, values, texts.get(name)) for name, values in inputs.items()},
                "outputs": {name: to_json(values[row]) for name, values in outputs.items()},
            }
            if best is not None:
                document["answer"] = best[row]
            yield print_line(document)

    def _best(self) -> list[dict[str, Any]] | None:
        """The best class of each instance; None if the model does not classify."""
        model = self.model
        if not model.classes or model.spec.postprocessing is None:
            return None
        scores = self.prediction.outputs.get(model.spec.postprocessing.output)
        if scores is None or scores.ndim != 2:
            return None
        return [
            {"label": model.classes[index], "score": float(scores[row, index])}
            for row, [index] in enumerate(best_classes(scores, 1).tolist())
        ]


def _input(row: int, values: Array, texts: Sequence[bytes | str] | None) -> dict[str, Any]:
    """One input of an instance: the text if the client sent one, otherwise the tensor."""
    if texts is not None:
        text = texts[row]
        return {"text": text if isinstance(text, str) else text.decode()}
    return to_json(values[row] if len(values) > row else values[0])
