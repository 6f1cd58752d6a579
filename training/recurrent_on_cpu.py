"""LSTM and GRU of tf_keras on a machine without a GPU: a graph is traced once, not for cuDNN as well.

In a graph, these layers trace themselves for both devices, with the gradients of both, and TensorFlow chooses one when
it runs. For a small network that is half of the time of a training. The graph for the CPU is the same either way.
"""

import functools
import importlib
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

CHOICES = {
    "tf_keras.src.layers.rnn.lstm": ("lstm_with_backend_selection", "standard_lstm"),
    "tf_keras.src.layers.rnn.gru": ("gru_with_backend_selection", "standard_gru"),
}
"""Module -> its function that traces for both devices, and the one for the CPU; of tf_keras 2.21."""


def trace_for_the_cpu_alone() -> None:
    """From now on, LSTM and GRU trace only the graph for the CPU. For a process without a GPU.

    A tf_keras without these functions is left as it is.
    """
    for place, (both, plain) in CHOICES.items():
        module = importlib.import_module(place)
        chooses = getattr(module, both, None)
        if chooses is not None and hasattr(module, plain) and not hasattr(chooses, "__wrapped__"):
            setattr(module, both, _only(getattr(module, plain), instead_of=chooses))


@contextmanager
def traced_for_gpus_too() -> Iterator[None]:
    """What is traced meanwhile also has the graph for cuDNN: a SavedModel may run on another machine."""
    replaced = [
        (module, both, getattr(module, both))
        for module, both in ((importlib.import_module(place), both) for place, (both, _) in CHOICES.items())
        if hasattr(module, both)
    ]
    for module, both, function in replaced:
        setattr(module, both, inspect.unwrap(function))
    try:
        yield
    finally:
        for module, both, function in replaced:
            setattr(module, both, function)


def _only(plain: Callable[..., Any], *, instead_of: Callable[..., Any]) -> Callable[..., Any]:
    """``plain`` with the arguments of the other function, of which it needs some."""
    names = inspect.signature(plain).parameters

    @functools.wraps(instead_of)
    def run(**arguments: Any) -> Any:
        return plain(**{name: arguments[name] for name in names})

    return run
