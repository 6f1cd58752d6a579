"""A generated text that is to be recorded, and its line."""

from collections.abc import Iterator
from dataclasses import dataclass

from app.contract.recordings.instance import print_line
from app.loaded import LoadedModel

TEXT = "text"
"""The output of a recorded line that holds the generated text."""
_BYTES_OF_A_CHARACTER = 4
_OTHER_BYTES = 1_024  # of the objects of a request that waits


@dataclass(frozen=True, slots=True)
class Generated:
    """A text that was continued to its end.

    Attributes:
        model: what continued it.
        request_id: as the client knows it.
        protocol: as metrics name it.
        prompt: the text of the client.
        text: what was added to it.
        time_s: when, in seconds since 1970.
    """

    model: LoadedModel
    request_id: str
    protocol: str
    prompt: str
    text: str
    time_s: float

    @property
    def rows(self) -> int:
        """Instances."""
        return 1

    @property
    def nbytes(self) -> int:
        """Bytes of memory that it takes at most while it waits to be written."""
        return _OTHER_BYTES + _BYTES_OF_A_CHARACTER * (len(self.prompt) + len(self.text))

    def lines(self) -> Iterator[bytes]:
        """The line of its only instance."""
        model = self.model
        yield print_line(
            {
                "request_id": self.request_id,
                "instance": 0,
                "instances": 1,
                "time_s": self.time_s,
                "model": model.name,
                "version": model.version,
                "signature": model.signature,
                "protocol": self.protocol,
                "inputs": {model.input_for_media(): {"text": self.prompt}},
                "outputs": {TEXT: {"text": self.text}},
            }
        )
