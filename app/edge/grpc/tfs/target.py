"""The model, version and label that a ModelSpec names, and errors about them.

Source: TensorFlow Serving, model.proto, ``ServerCore`` and ``ServableRequest``.
"""

from typing import NamedTuple

from app.edge.grpc.tfs import serving_pb2 as pb
from app.errors import InvalidInput, ModelNotFound, ServingError
from app.repository.scan import version_number


class Target(NamedTuple):
    """The target of a request.

    Attributes:
        name: of the model.
        version: as a text; None without one.
        label: None without one; at most one of the two is set.
    """

    name: str
    version: str | None
    label: str | None

    @classmethod
    def of(cls, spec: pb.ModelSpec) -> "Target":
        """The target that a message names."""
        return cls(
            spec.name,
            str(spec.version.value) if spec.HasField("version") else None,
            spec.version_label if spec.HasField("version_label") else None,
        )

    @property
    def number(self) -> int | None:
        """The version; None without one. Raises InvalidInput, see ``version_number``."""
        return None if self.version is None else version_number(self.version)

    def not_found(self) -> ServingError:
        """The error for it with TensorFlow Serving's message, which clients compare; the log has ours."""
        if self.label is not None:
            return InvalidInput(f"Unrecognized servable version label: {self.label}")
        which = f"Latest({self.name})" if self.version is None else f"Specific({self.name}, {self.version})"
        return ModelNotFound(f"Servable not found for request: {which}")


def check_spec(spec: pb.ModelSpec, *, given: bool) -> None:
    """Check that a request names a model.

    Raises:
        InvalidInput: it has no ModelSpec, or one without a name.
    """
    if not given:
        raise InvalidInput("Missing ModelSpec")
    if not spec.name:
        raise InvalidInput("ModelSpec has no name specified.")
