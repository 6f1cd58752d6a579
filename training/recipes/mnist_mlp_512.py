"""MNIST by one hidden layer of 512 units, with the settings of fashion-mnist-mlp-512.

Command: python -m training run mnist-mlp-512 --dataset synthetic --set data.synthetic_count=4000 --test
Result: 1.0000 on 1,000 drawn digits; 407,050 parameters; not measured on the digits of MNIST
Date and hardware: 2026-11-30, two cores of an AMD EPYC

The files of MNIST are read as those of Fashion-MNIST are. They were not available where this was measured, so the
accuracy is that on drawn digits, which are much easier.
"""

from training.data.pipelines import ImagePipeline
from training.datasets.mnist import Mnist, digit_steps
from training.network.dense_blocks import Dense, dense_classifier
from training.recipe.fitting import Fitting, Optimizer
from training.recipe.recipe import Recipe

RECIPE = Recipe(
    name="mnist-mlp-512",
    description="Handwritten digits of 28x28 pixels, by one hidden layer of 512 units.",
    license="apache-2.0",
    data=Mnist(validation_per_class=0),
    pipeline=ImagePipeline(steps=digit_steps(28)),
    network=Dense(units=(512,)),
    build=dense_classifier,
    optimizer=Optimizer(name="adam", learning_rate=1e-3),
    fitting=Fitting(epochs=5, batch_size=128, keep="last"),
)
