"""model.weights.h5: the weights of a finished model in Keras's own form, for ``load_weights`` of tf_keras."""

from pathlib import Path
from typing import Any

from app.contract.model_spec import KERAS_WEIGHTS_FILE
from training.disk import replaced


def write_keras_weights(model: Any, directory: Path) -> None:
    """Write model.weights.h5 to ``directory``, in one step.

    Args:
        model: tf_keras.Model; its optimiser is not written.
        directory: of a run or a version.
    """
    with replaced(
        directory / KERAS_WEIGHTS_FILE
    ) as temporary:  # ends in .weights.h5 too, by which Keras knows the form
        model.save_weights(str(temporary))
