"""A file of weights in Keras's HDF5 form, compared with a network by the names and shapes of its layers."""

from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path
from typing import Any

Layer = tuple[str, tuple[tuple[int, ...], ...]]
"""Name, and the shapes of the weights in order."""


def difference(model: Any, path: Path) -> str:
    """The first layer in which a file that does not fit a network differs from it; empty if that cannot be said.

    Args:
        model: tf_keras.Model.
        path: of the file.
    """
    try:
        saved = list(_saved(path))
    except (OSError, KeyError):
        return ""
    own = [(layer.name, _shapes(layer.weights)) for layer in model.layers if layer.weights]
    for mine, theirs in zip_longest(own, saved):
        if saved and (mine is None or theirs is None or mine[1] != theirs[1]):
            return (
                f"where the network has {_in_words(mine)}, the file has {_in_words(theirs)} ({len(own)} layers with "
                f"weights, and {len(saved)} in the file)"
            )
    return ""


def _saved(path: Path) -> Iterator[Layer]:
    """The layers of a file that have weights, in order; none if the file has another form.

    Source: tf_keras, saving/legacy/hdf5_format.py: the attributes ``layer_names`` and ``weight_names``.
    """
    import h5py

    with h5py.File(path, "r") as file:
        for name in file.attrs.get("layer_names", ()):
            group = file[name]
            if len(weights := group.attrs["weight_names"]):
                yield _text(name), _shapes(group[weight] for weight in weights)


def _shapes(weights: Any) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(weight.shape) for weight in weights)


def _text(name: str | bytes) -> str:
    return name.decode() if isinstance(name, bytes) else str(name)


def _in_words(layer: Layer | None) -> str:
    if layer is None:
        return "no further layer"
    name, shapes = layer
    return f"layer {name!r} with weights of shape {', '.join(map(str, shapes))}"
