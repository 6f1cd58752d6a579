"""A recorded instance, and the line of JSON that holds it.

A file of recordings has one line for each instance of a recorded request:

==================  ===================================================================================================
``request_id``      of the request, as its reply had it in ``x-request-id``
``instance``        index of the instance in the request, from 0
``instances``       how many the request had
``time_s``          when it was answered, in seconds since 1970
``model``           name of the model
``version``         the version that answered
``signature``       the signature of a SavedModel; ``serving_default`` of every other model
``protocol``        protocol and verb, as in the metrics: ``v1:predict``
``inputs``          input name -> tensor, as the model received it, or text: see ``recordings.tensors``
``outputs``         output name -> tensor; of a text that was generated: ``text``, the text
``answer``          of a classifier: ``{"label": ..., "score": ...}`` of the best class
``feedback``        the right answer, if a client sent one: ``{"label": ..., "time_s": ...}`` of a classifier,
                    ``{"value": ..., "time_s": ...}`` of any other model, and the text of one that was generated; only
                    in exported files
==================  ===================================================================================================

While the service runs, the right answers are in a file next to the recorded instances, a line each: ``offset`` (of the
line of the instance in its file, in bytes), ``request_id``, ``instance``, and the members of ``feedback``. So a line is
written once and never changed, but for ``{"deleted": true}`` and spaces in place of one that was deleted.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from app.contract.recordings.tensors import from_json
from app.types import Array

DELETED = b'{"deleted":true}'


@dataclass(frozen=True, slots=True)
class Feedback:
    """The right answer to an instance.

    Attributes:
        time_s: when it arrived, in seconds since 1970.
        label: of a classifier.
        value: of any other model: a number or nested lists of them, or those of several outputs by their names.
    """

    time_s: float
    label: str | None = None
    value: Any = None

    @property
    def document(self) -> dict[str, Any]:
        """As JSON."""
        said = {"value": self.value} if self.label is None else {"label": self.label}
        return {**said, "time_s": self.time_s}

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> "Feedback":
        """From JSON; raises KeyError, TypeError or ValueError if it has another form."""
        label = document.get("label")
        if label is None and "value" not in document:
            raise KeyError("label")
        return cls(float(document["time_s"]), None if label is None else str(label), document.get("value"))


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedInstance:
    """One instance of a recorded request: see the table above.

    Attributes:
        request_id, instance, instances, time_s, model, version, signature, protocol: see above.
        inputs: input name -> (*shape), or the text.
        outputs: output name -> (*shape).
        label, score: the best class; None if the model does not classify.
        feedback: the right answer; None if no client sent one.
    """

    request_id: str
    instance: int
    instances: int
    time_s: float
    model: str
    version: int
    signature: str
    protocol: str
    inputs: Mapping[str, Array | str]
    outputs: Mapping[str, Array | str]
    label: str | None = None
    score: float | None = None
    feedback: Feedback | None = None


def parse_instance(document: Mapping[str, Any], feedback: Feedback | None = None) -> RecordedInstance:
    """The instance of a line.

    Args:
        document: the line as JSON.
        feedback: from the file next to it; None: as the line says.

    Raises:
        KeyError, TypeError, ValueError, AttributeError: the document has another form.
    """
    answer, own = document.get("answer") or {}, document.get("feedback")
    return RecordedInstance(
        request_id=str(document["request_id"]),
        instance=int(document["instance"]),
        instances=int(document["instances"]),
        time_s=float(document["time_s"]),
        model=str(document["model"]),
        version=int(document["version"]),
        signature=str(document["signature"]),
        protocol=str(document["protocol"]),
        inputs={name: from_json(tensor) for name, tensor in document["inputs"].items()},
        outputs={name: from_json(tensor) for name, tensor in document["outputs"].items()},
        label=answer.get("label"),
        score=answer.get("score"),
        feedback=Feedback.of(own) if feedback is None and own is not None else feedback,
    )


def print_line(document: Mapping[str, Any]) -> bytes:
    """A document as a line, with its end."""
    return orjson.dumps(document, option=orjson.OPT_APPEND_NEWLINE)


def read_line(line: bytes) -> dict[str, Any] | None:
    """The document of a line; None if the line was deleted, or is torn: its writer was killed, or the disk full."""
    try:
        document = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    return document if isinstance(document, dict) and "deleted" not in document else None
