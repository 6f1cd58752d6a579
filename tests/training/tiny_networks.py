"""Networks of a few units, with the specs and versions that go with them."""

import numpy as np

from app.contract.model_spec import ModelSpec
from app.contract.steps import Classification, ImagePreprocessing, TextPreprocessing, TransformStep
from app.contract.tensor_spec import TensorSpec
from app.contract.tokenizer import Tokenizer, most_frequent_tokens
from training.datasets.drawn.synthetic import sentences
from training.export.model_export import OPSET

EDGE = 8
LONGEST = 12
CLASSES = ("low", "middle", "high")
SENTIMENTS = ("negative", "positive")

TOKENIZER = Tokenizer(most_frequent_tokens(sentences(200, seed=1)[0], limit=40), max_length=LONGEST, keep="last")

PIXELS = TensorSpec(name="pixels", dtype="uint8", shape=(EDGE, EDGE))
TOKEN_IDS = TensorSpec(name="token_ids", dtype="int32", shape=(-1,), minimum=0, maximum=TOKENIZER.id_count - 1)


def spec_of(name, tensor, labels, preprocessing=None):
    return ModelSpec(
        name=name,
        inputs=(tensor,),
        outputs=(TensorSpec(name="probabilities", dtype="float32", shape=(len(labels),), minimum=0, maximum=1),),
        preprocessing=preprocessing,
        postprocessing=Classification(output="probabilities", labels=labels),
        opset=OPSET,
        trained_on="nothing",
    )


IMAGE_SPEC = spec_of(
    "tiny-image",
    PIXELS,
    CLASSES,
    ImagePreprocessing(
        input="pixels",
        steps=(
            TransformStep(step="resize", arguments={"width": EDGE, "height": EDGE}),
            TransformStep(step="grey"),
        ),
    ),
)
TEXT_SPEC = spec_of(
    "tiny-text", TOKEN_IDS, SENTIMENTS, TextPreprocessing(input="token_ids", max_length=LONGEST, keep="last")
)


def mlp(seed=0):
    import tf_keras
    from tf_keras import layers

    tf_keras.utils.set_random_seed(seed)
    return tf_keras.Sequential(
        [
            layers.Input((EDGE, EDGE), dtype="uint8", name="pixels"),
            layers.Rescaling(1 / 64, offset=-2),
            layers.Flatten(),
            layers.Dense(12, activation="relu"),
            layers.Dense(len(CLASSES), activation="softmax"),
        ]
    )


def cnn(seed=0):
    """Two convolutions with batch normalisation, whose running statistics are not the initial ones."""
    import tf_keras
    from tf_keras import layers

    tf_keras.utils.set_random_seed(seed)
    pixels = layers.Input((EDGE, EDGE), dtype="uint8", name="pixels")
    x = layers.Reshape((EDGE, EDGE, 1))(layers.Rescaling(1 / 64, offset=-2)(pixels))
    for _ in range(2):
        x = layers.Conv2D(3, 3, padding="same", use_bias=False)(x)
        x = layers.ReLU()(layers.BatchNormalization()(x))
        x = layers.MaxPooling2D()(x)
    x = layers.Dropout(0.5)(layers.Flatten()(x))
    model = tf_keras.Model(pixels, layers.Dense(len(CLASSES), activation="softmax")(x))
    rng = np.random.default_rng(seed)
    model.set_weights(
        [weight + rng.uniform(0, 0.3, weight.shape).astype(weight.dtype) for weight in model.get_weights()]
    )
    return model


def masked_lstm(*, bidirectional=False, stacked=False, head=True, seed=0, **options):
    """Embedding with a mask, one or two LSTMs, and a dense layer unless ``head`` is false."""
    import tf_keras
    from tf_keras import layers

    tf_keras.utils.set_random_seed(seed)

    def recurrent(**more):
        lstm = layers.LSTM(4, **options, **more)
        return layers.Bidirectional(lstm) if bidirectional else lstm

    ids = layers.Input((None,), dtype="int32", name="token_ids")
    x = layers.Embedding(TOKENIZER.id_count, 5, mask_zero=True, embeddings_initializer="normal")(ids)
    x = layers.Dropout(0.3)(x)
    if stacked:
        x = recurrent(return_sequences=True)(x)
    x = recurrent()(x)
    return tf_keras.Model(ids, layers.Dense(len(SENTIMENTS), activation="softmax")(x) if head else x)


def pictures(count=64, seed=0):
    return {"pixels": np.random.default_rng(seed).integers(0, 256, (count, EDGE, EDGE), dtype=np.uint8)}


def texts(count=64, seed=0):
    """Padded ids and their lengths, from 1 to LONGEST."""
    rng = np.random.default_rng(seed)
    lengths = np.array([1 + (5 * row) % LONGEST for row in range(count)], np.int32)
    ids = rng.integers(1, TOKENIZER.id_count, (count, LONGEST)).astype(np.int32)
    ids[np.arange(LONGEST) >= lengths[:, None]] = 0
    return {"token_ids": ids}, {"token_ids": lengths}
