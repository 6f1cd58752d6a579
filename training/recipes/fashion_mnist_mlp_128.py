"""Fashion-MNIST as the course teaches it first: one hidden layer of 128 units.

Command: python -m training run fashion-mnist-mlp-128 --test
Result: 0.8825 on the test set, 101,770 parameters, 37 s
Date and hardware: 2026-11-21, two cores of an AMD EPYC

Flatten, Dense 128 with ReLU, Dense 10 with softmax; Adam at Keras's default 0.001, cross-entropy,
ten epochs of batches of 32, all 60,000 training images, no validation part. The published fashion-mnist-mlp
shows what the same kind of network reaches with careful training.
"""

from training.data.pipelines import ImagePipeline
from training.datasets.fashion_mnist import FASHION_STEPS, FashionMnist
from training.network.dense_blocks import Dense, dense_classifier
from training.recipe.fitting import Fitting, Optimizer
from training.recipe.recipe import Recipe

RECIPE = Recipe(
    name="fashion-mnist-mlp-128",
    description="Ten kinds of garment, by one hidden layer of 128 units, as the course teaches it.",
    license="apache-2.0",
    data=FashionMnist(validation_per_class=0),
    pipeline=ImagePipeline(steps=FASHION_STEPS),
    network=Dense(units=(128,)),
    build=dense_classifier,
    optimizer=Optimizer(name="adam", learning_rate=1e-3),
    fitting=Fitting(epochs=10, batch_size=32, keep="last"),
)
