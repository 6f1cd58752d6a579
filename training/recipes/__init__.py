"""One file per model, found by its name: fashion-mnist-mlp is in fashion_mnist_mlp.py as ``RECIPE``."""
