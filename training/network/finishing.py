"""Models made from trained networks before they are measured and published, without further training."""

from collections.abc import Sequence
from typing import Any

from training.recipe.recipe import OUTPUT_NAME, Signature


def mean_over_mirror(models: Sequence[Any], signature: Signature) -> Any:
    """The mean of several trained networks' answers to an image and to its mirror image.

    For networks trained with ``flip``; the answer then does not depend on the image's left-right orientation.

    Source: Krizhevsky, Sutskever, Hinton, ImageNet Classification with Deep Convolutional Neural Networks (2012),
    section 4.1, which also uses crops.

    Args:
        models: trained; take images (batch, height, width) or (batch, height, width, channels).
        signature: of the models.
    """
    import tf_keras
    from tf_keras import layers

    pixels = layers.Input(signature.input.shape, dtype=signature.input.dtype, name=signature.input.name)
    mirrored = layers.Lambda(lambda images: images[:, :, ::-1], name="mirror")(pixels)
    answers = [model(image) for model in models for image in (pixels, mirrored)]
    return tf_keras.Model(pixels, layers.Average(name=OUTPUT_NAME)(answers))
