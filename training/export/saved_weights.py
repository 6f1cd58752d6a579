"""The weights of a published version, read from its own SavedModel into a network of the same form."""

from pathlib import Path
from typing import Any

from app.contract.model_spec import ModelSpec
from training.errors import WeightsRefused
from training.export.converting import quiet
from training.export.model_export import traced
from training.export.saved_model import load_saved_model


def adopt_saved_weights(model: Any, spec: ModelSpec, directory: Path) -> None:
    """Give a network the weights of a published version.

    Names do not say which weight is which: Keras numbers layers by what the process has built before, and two networks
    in one model may have the same names. The order in which the forward pass reads them does: it is the same for every
    trace of the same network, and the SavedModel keeps it.

    Args:
        model: tf_keras.Model of the form that was published, with any weights.
        spec: of the version.
        directory: of the version.

    Raises:
        WeightsRefused: the network has other layers or shapes; names the first layer, and both shapes.
    """
    with quiet():
        loaded = load_saved_model(directory)
    saved = _in_order(loaded.signatures["serving_default"], list(loaded.captured))
    own = _in_order(traced(model, spec, device="/CPU:0").get_concrete_function(), model.weights)
    for mine, theirs in zip(own, saved, strict=False):
        if mine.shape != theirs.shape:
            raise WeightsRefused(
                f"the weights of {directory} do not fit the network of the recipe: layer {layer_of(mine)!r} has a "
                f"weight of shape {tuple(mine.shape)}, but the version has {tuple(theirs.shape)} in layer "
                f"{layer_of(theirs)!r}; use the recipe that the version was trained with"
            )
    if len(own) != len(saved):
        more, whose = (own, "the network of the recipe") if len(own) > len(saved) else (saved, str(directory))
        extra = more[min(len(own), len(saved))]
        raise WeightsRefused(
            f"the weights of {directory} do not fit the network of the recipe: it has {len(own)} weights, but the "
            f"version has {len(saved)}; only {whose} has layer {layer_of(extra)!r} with a weight of shape "
            f"{tuple(extra.shape)}; use the recipe that the version was trained with"
        )
    for mine, theirs in zip(own, saved, strict=True):
        mine.assign(theirs)


def layer_of(variable: Any) -> str:
    """The layer of a variable, by its name: ``lstm/forward_lstm`` of ``lstm/forward_lstm/kernel:0``."""
    layer, _, weight = str(variable.name).rpartition("/")
    return layer or weight


def _in_order(function: Any, variables: list[Any]) -> list[Any]:
    """The variables that a function reads, in the order in which it reads them first."""
    by_handle = {id(variable.handle): variable for variable in variables}
    return [by_handle[id(handle)] for handle in function.captured_inputs if id(handle) in by_handle]
