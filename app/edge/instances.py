"""Images and texts of a request as instances of the input that they feed."""

import numpy as np

from app.contract.tokenizer import pad
from app.errors import WrongFormat
from app.runtime.backend import Array
from app.serving.model import LoadedModel


def instance(data: bytes, model: LoadedModel) -> Array:
    """Bytes of an image or a text, whichever the model takes, as one instance.

    Raises:
        WrongFormat: the bytes are none.
        InvalidInput: they break a rule of the model's.
    """
    return model.instance_from_image(data) if model.tokenizer is None else model.instance_from_text(utf8(data))


def stack(rows: list[Array]) -> Array:
    """Instances to one tensor; token ids of different length are padded after their end."""
    if len({row.shape for row in rows}) == 1:
        return np.stack(rows)
    return pad(rows)


def utf8(data: bytes) -> str:
    """Bytes as text.

    Raises:
        WrongFormat: they are not UTF-8; names the first byte that is wrong.
    """
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise WrongFormat(
            f"{len(data)} bytes are no UTF-8 text: byte {error.start} is 0x{data[error.start]:02x}"
        ) from error
