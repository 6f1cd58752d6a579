"""The last layers of a network: one for each output, with the name, length and activation that its task needs."""

from typing import Any

from training.recipe.recipe import OUTPUT_NAME, VALUES_NAME, Signature


def answers_of(signature: Signature, x: Any) -> Any:
    """Dense layers after ``x``, (batch, features): softmax for classes, sigmoid for labels, none for numbers.

    Returns:
        The output, (batch, length); a list of them for several heads.
    """
    from tf_keras import layers

    usual = {OUTPUT_NAME: "softmax"} if signature.classes else {VALUES_NAME: "linear"}
    answers = [
        layers.Dense(signature.heads.get(name, signature.classes or 1), activation=activation, name=name)(x)
        for name, activation in (signature.activations or usual).items()
    ]
    return answers if len(answers) > 1 else answers[0]
