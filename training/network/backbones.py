"""Networks that were trained on other pictures by somebody else, with a new last layer for the classes at hand."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from training.bounds import Bounded, CountOrZero, ShareBelowOne
from training.errors import SettingRefused
from training.network.answers import answers_of
from training.network.weights_file import difference
from training.recipe.fitting import Fitting, Optimizer, Schedule
from training.recipe.recipe import OUTPUT_NAME, Signature, Stage

BackboneName = Literal["mobilenet-v2", "efficientnet-b0", "resnet-50"]
SMALLEST_EDGE = 32
"""Pixels along an edge below which these networks have nothing left to look at."""
IMAGENET, NONE = "imagenet", "none"
WIDTHS = (0.35, 0.5, 0.75, 1.0, 1.3, 1.4)
"""Of MobileNetV2, for which its makers publish weights."""
LAYER = "backbone"
NORMALISATION_MOMENTUM = 0.9
"""Of networks that start from random weights: these were made for more steps than small data has."""
_CLASSES = {"mobilenet-v2": "MobileNetV2", "efficientnet-b0": "EfficientNetB0", "resnet-50": "ResNet50"}
_MEAN_BGR = (103.939, 116.779, 123.68)  # of ImageNet, subtracted before ResNet50 was trained


@dataclass(frozen=True, kw_only=True)
class Backbone(Bounded):
    """Settings of a pre-trained network of ``tf_keras.applications``, for pictures in colour or grey.

    Attributes:
        name: ``mobilenet-v2`` is the fastest, ``resnet-50`` the largest (94 MB of weights).
        weights: ``imagenet`` downloads the weights that Keras offers, once; ``none`` starts from random ones, and all
            layers learn; anything else is the path of a file of weights (.h5) without the classification layer.
        width: of ``mobilenet-v2``: its filters, as a share; one of ``WIDTHS``.
        trained_layers: last layers of the backbone that learn once the new layer has been trained; 0 for none.
        dropout: share of the features before the last layer that are silenced in training.
    """

    name: BackboneName = "mobilenet-v2"
    weights: str = IMAGENET
    width: float = 1.0
    trained_layers: CountOrZero = 40
    dropout: ShareBelowOne = 0.3

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.name not in get_args(BackboneName):
            raise ValueError(f"name must be one of {', '.join(get_args(BackboneName))}")
        if self.width not in WIDTHS or (self.width != 1 and self.name != "mobilenet-v2"):
            raise ValueError(f"width must be 1, or, for mobilenet-v2, one of {', '.join(map(str, WIDTHS))}")


def build_backbone(network: Backbone, signature: Signature) -> Any:
    """Pixels as the backbone expects them, the backbone, the mean over the picture, one dense layer.

    The statistics of its batch normalisations stay those of its own training, as the Keras guide to transfer learning
    advises: a few pictures would destroy them.

    Raises:
        SettingRefused: the weights cannot be downloaded or read, or belong to another network, or the pictures are too
            small.
    """
    import tf_keras
    from tf_keras import layers

    shape = signature.input.shape
    if min(shape[:2]) < SMALLEST_EDGE:
        raise SettingRefused(
            f"{network.name} takes pictures of {SMALLEST_EDGE}x{SMALLEST_EDGE} or more, not {shape[0]}x{shape[1]}; "
            "set a larger size in the step resize of the recipe"
        )
    backbone = _backbone(network, (*shape[:2], 3))
    backbone._name = LAYER
    is_trained = network.weights != NONE
    if is_trained:
        first = len(backbone.layers) - network.trained_layers
        for place, layer in enumerate(backbone.layers):
            layer.trainable = place >= first and not isinstance(layer, layers.BatchNormalization)
    else:
        for layer in backbone.layers:
            if isinstance(layer, layers.BatchNormalization):
                layer.momentum = NORMALISATION_MOMENTUM
    pixels = layers.Input(shape, dtype=signature.input.dtype, name=signature.input.name)
    x = layers.Rescaling(1.0)(pixels)
    x = layers.Reshape((*shape[:2], 1))(x) if len(shape) == 2 else x
    x = layers.Concatenate()([x, x, x]) if shape[2:] in {(), (1,)} else x
    x = _as_trained(network.name, x, layers)
    x = backbone(x, training=False) if is_trained else backbone(x)
    x = layers.Dropout(network.dropout)(layers.GlobalAveragePooling2D()(x))
    return tf_keras.Model(pixels, answers_of(signature, x))


def build_frozen_backbone(network: Backbone, signature: Signature) -> Any:
    """The same network, in which only the dense layer learns."""
    model = build_backbone(network, signature)
    model.get_layer(LAYER).trainable = False
    return model


def head_stage(*, epochs: int, batch_size: int) -> Stage:
    """The training of the new layer on top of the frozen backbone, before the last layers of both learn together."""
    return Stage(
        name="head",
        build=build_frozen_backbone,
        shared_layers=(LAYER, OUTPUT_NAME),
        optimizer=Optimizer(name="adamw", learning_rate=0.003, schedule=Schedule(name="cosine"), weight_decay=0.01),
        fitting=Fitting(epochs=epochs, batch_size=batch_size, keep="last"),
    )


def _as_trained(name: BackboneName, pixels: Any, layers: Any) -> Any:
    """Pixels from 0 to 255 as in the training of the backbone: ``preprocess_input`` of its module in Keras."""
    if name == "mobilenet-v2":
        return layers.Rescaling(1 / 127.5, offset=-1)(pixels)
    if name == "resnet-50":
        return layers.Rescaling(1.0, offset=[-mean for mean in _MEAN_BGR])(pixels[..., ::-1])
    return pixels  # EfficientNet scales them itself


def _backbone(network: Backbone, shape: tuple[int, ...]) -> Any:
    """The network without its last layer, with its weights."""
    import tf_keras

    make = getattr(tf_keras.applications, _CLASSES[network.name])
    arguments = {"alpha": network.width} if network.name == "mobilenet-v2" else {}
    if network.weights == IMAGENET:
        try:
            return make(include_top=False, input_shape=shape, weights=IMAGENET, **arguments)
        except Exception as error:
            raise SettingRefused(
                f"the weights of {network.name} cannot be downloaded: {error}; "
                "get the file elsewhere and give its path: --set network.weights=FILE"
            ) from error
    made = make(include_top=False, input_shape=shape, weights=None, **arguments)
    if network.weights != NONE:
        file = Path(network.weights)
        if not file.is_file():
            raise SettingRefused(f"network.weights is {network.weights!r}: there is no such file; also: imagenet, none")
        try:
            made.load_weights(file)
        except Exception as error:
            raise SettingRefused(
                f"{file} does not hold the weights of {network.name} without its last layer: "
                f"{difference(made, file) or error}"
            ) from error
    return made
