"""The signature of a SavedModel that a request names, by the same rule for every protocol.

TensorFlow Serving's requests name it. Triton states one for a model, in config.pbtxt (``TF_SIGNATURE_DEF``): here it is
the default one. Triton has no way to name one in a request; here a parameter of the Open Inference Protocol does so.
"""

from app.edge.codec.json_values import JsonValue, kind_of_value
from app.errors import InvalidInput, quoted
from app.loaded import LoadedModel

SIGNATURE_NAME = "signature_name"


def is_default(name: str, model: LoadedModel) -> bool:
    """Whether a request means the default signature of a model, which the empty name means, too."""
    return name in {"", model.signature}


def of_signature(name: JsonValue, model: LoadedModel) -> LoadedModel:
    """What answers a signature of a model; ``model`` itself for the default one.

    Args:
        name: as sent; empty for the default one.
        model: the version.

    Raises:
        InvalidInput: it is not a string, or the model has no such signature; names those that it has.
    """
    if not isinstance(name, str):
        raise InvalidInput(f"'{SIGNATURE_NAME}' is {kind_of_value(name)}; send a string")
    if is_default(name, model):
        return model
    if (found := model.signatures.get(name)) is None:
        known = ", ".join(map(repr, (model.signature, *model.signatures)))
        raise InvalidInput(f"signature {quoted(name)} does not exist; the model has {known}")
    return found
