"""Inputs of the tiny models, and the scores expected for them."""

import numpy as np

from tests.support.tiny_models import SIDE, softmax

PIXELS = np.random.default_rng(7).integers(0, 256, (5, SIDE, SIDE), dtype=np.uint8)
MANY = np.random.default_rng(8).integers(0, 256, (400, SIDE, SIDE), dtype=np.uint8)
TEXTS = ["a good film", "bad", "good good bad film film"]


def expected(pixels):
    flat = pixels.reshape(len(pixels), -1).astype(np.float32)
    return softmax(np.stack([127.5 - flat.mean(axis=1), flat.mean(axis=1) - 127.5], axis=1))
