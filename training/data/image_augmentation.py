"""Augmentation of images, vectorised over batches.

All randomness is stateless: it depends on the seeds that it is given.
"""

import math
from collections.abc import Iterator
from typing import Any

import tensorflow as tf

from training.data.settings import ImageAugmentation

MIDDLE_GREY = 127.5


def augment(images: Any, targets: Any, settings: ImageAugmentation, seeds: Iterator[Any]) -> tuple[Any, Any]:
    """Augment one batch.

    Args:
        images: uint8 (batch, height, width) or (batch, height, width, 3).
        targets: float32 (batch, classes), each row sums to 1.
        settings: the augmentation.
        seeds: a fresh stateless seed, shape (2,), for every draw.

    Returns:
        The images, uint8 and of the same shape, and the targets, which only mixup and cutmix change.
    """
    grey = images.shape.rank == 3
    pixels = images[..., tf.newaxis] if grey else images
    if settings.warp:
        pixels = _warp(pixels, settings, seeds)
    elif settings.shift or settings.flip:
        pixels = _shift_and_flip(pixels, settings, seeds)
    if settings.saturation or settings.greyscale:
        pixels = _saturate(pixels, settings, seeds)
    if settings.contrast or settings.brightness or settings.colour:
        pixels = _recolour(pixels, settings, seeds)
    if settings.noise:
        noise = tf.random.stateless_normal(tf.shape(pixels), next(seeds), stddev=settings.noise)
        pixels = tf.cast(pixels, tf.float32) + noise
    if settings.cutout:
        pixels = _cut_out(pixels, settings, seeds)
    if settings.mixup or settings.cutmix:
        pixels, targets = _mix(pixels, targets, settings, seeds)
    if pixels.dtype != tf.uint8:
        pixels = tf.saturate_cast(tf.round(pixels), tf.uint8)
    return (pixels[..., 0] if grey else pixels), targets


def _shift_and_flip(images: Any, settings: ImageAugmentation, seeds: Iterator[Any]) -> Any:
    """Shift and mirror each image of uint8 (batch, height, width, channels) separately, with two gathers."""
    batch, (height, width) = tf.shape(images)[0], images.shape[1:3]
    edge = settings.shift
    padded = tf.pad(images, [[0, 0], [edge, edge], [edge, edge], [0, 0]])
    down = _whole(batch, 2 * edge + 1, next(seeds))
    right = _whole(batch, 2 * edge + 1, next(seeds))
    rows, columns = down + tf.range(height)[tf.newaxis], right + tf.range(width)[tf.newaxis]
    if settings.flip:
        mirrored = tf.random.stateless_uniform([batch, 1], next(seeds)) < 0.5
        columns = tf.where(mirrored, columns[:, ::-1], columns)
    return tf.gather(tf.gather(padded, rows, axis=1, batch_dims=1), columns, axis=2, batch_dims=1)


def _warp(images: Any, settings: ImageAugmentation, seeds: Iterator[Any]) -> Any:
    """One projective transform per image: shift, mirror and, for a share, rotate, zoom, stretch and shear; float32.

    Images that are not warped move by whole pixels and stay sharp.
    """
    batch, (height, width) = tf.shape(images)[0], images.shape[1:3]
    warped = tf.cast(tf.random.stateless_uniform([batch], next(seeds)) < settings.warp, tf.float32)
    angle = warped * _between([batch], -settings.rotation, settings.rotation, next(seeds)) * (math.pi / 180)
    scale = tf.exp(warped * _between([batch], -settings.zoom, settings.zoom, next(seeds)))
    stretch = tf.exp(warped * _between([batch], -settings.aspect, settings.aspect, next(seeds)))
    shear = warped * _between([batch], -settings.shear, settings.shear, next(seeds))
    mirrored = tf.random.stateless_uniform([batch], next(seeds)) < (0.5 if settings.flip else 0.0)
    mirror = tf.where(mirrored, -1.0, 1.0)
    cosine, sine = tf.cos(angle), tf.sin(angle)
    # From a pixel of the result to its source pixel, relative to the centre:
    # x' = a x + b y + right, y' = c x + d y + down.
    a = cosine * scale * stretch * mirror
    b = (cosine * shear - sine) * scale * stretch
    c = sine * scale / stretch * mirror
    d = (sine * shear + cosine) * scale / stretch
    right = tf.cast(_whole(batch, 2 * settings.shift + 1, next(seeds))[:, 0] - settings.shift, tf.float32)
    down = tf.cast(_whole(batch, 2 * settings.shift + 1, next(seeds))[:, 0] - settings.shift, tf.float32)
    x, y, nothing = (width - 1) / 2, (height - 1) / 2, tf.zeros([batch])
    rows = [a, b, x - a * x - b * y + right, c, d, y - c * x - d * y + down, nothing, nothing]
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=tf.cast(images, tf.float32),
        transforms=tf.stack(rows, axis=1),
        output_shape=[height, width],
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="REFLECT",
    )


def _saturate(images: Any, settings: ImageAugmentation, seeds: Iterator[Any]) -> Any:
    """Colours moved towards or away from the grey of their pixel; float32, not clipped yet."""
    batch, pixels = tf.shape(images)[0], tf.cast(images, tf.float32)
    factor = _between([batch, 1, 1, 1], 1 - settings.saturation, 1 + settings.saturation, next(seeds))
    drained = tf.random.stateless_uniform([batch, 1, 1, 1], next(seeds)) < settings.greyscale
    mean = tf.reduce_mean(pixels, axis=3, keepdims=True)
    return mean + (pixels - mean) * tf.where(drained, 0.0, factor)


def _recolour(images: Any, settings: ImageAugmentation, seeds: Iterator[Any]) -> Any:
    """Contrast around the middle grey, brightness and channel shifts; float32, not clipped yet."""
    batch, channels = tf.shape(images)[0], images.shape[3]
    gain = _between([batch, 1, 1, 1], 1 - settings.contrast, 1 + settings.contrast, next(seeds))
    bias = _between([batch, 1, 1, 1], -settings.brightness, settings.brightness, next(seeds))
    if settings.colour and channels > 1:
        bias += _between([batch, 1, 1, channels], -settings.colour, settings.colour, next(seeds))
    return (tf.cast(images, tf.float32) - MIDDLE_GREY) * gain + MIDDLE_GREY + bias


def _cut_out(images: Any, settings: ImageAugmentation, seeds: Iterator[Any]) -> Any:
    """Paint over a square. Source: DeVries & Taylor, arXiv:1708.04552."""
    batch, (height, width) = tf.shape(images)[0], images.shape[1:3]
    top = _whole(batch, height, next(seeds)) - settings.cutout // 2
    left = _whole(batch, width, next(seeds)) - settings.cutout // 2
    rows, columns = tf.range(height)[tf.newaxis], tf.range(width)[tf.newaxis]
    inside_rows = (rows >= top) & (rows < top + settings.cutout)
    inside_columns = (columns >= left) & (columns < left + settings.cutout)
    chosen = tf.random.stateless_uniform([batch, 1, 1, 1], next(seeds)) < settings.cutout_share
    square = inside_rows[:, :, tf.newaxis, tf.newaxis] & inside_columns[:, tf.newaxis, :, tf.newaxis] & chosen
    return tf.where(square, tf.cast(settings.cutout_fill, images.dtype), images)


def _mix(images: Any, targets: Any, settings: ImageAugmentation, seeds: Iterator[Any]) -> tuple[Any, Any]:
    """Mix a batch with itself in reverse order: a share of every pixel (mixup) or all of some pixels (cutmix).

    Source: Zhang et al., arXiv:1710.09412, and Yun et al., arXiv:1905.04899, both with uniformly drawn shares.
    """
    batch, (height, width) = tf.shape(images)[0], images.shape[1:3]
    draw = tf.random.stateless_uniform([batch, 1], next(seeds))
    blended = tf.cast(draw < settings.mixup, tf.float32)
    weights = (blended * _between([batch, 1], 0.0, settings.mixup_limit, next(seeds)))[:, :, tf.newaxis, tf.newaxis]
    if settings.cutmix:
        cut = tf.cast((draw >= settings.mixup) & (draw < settings.mixup + settings.cutmix), tf.float32)
        side = cut * tf.sqrt(_between([batch, 1], 0.0, settings.cutmix_limit, next(seeds)))
        inside_rows = _near(height, side, next(seeds))
        inside_columns = _near(width, side, next(seeds))
        weights += tf.cast(
            inside_rows[:, :, tf.newaxis, tf.newaxis] & inside_columns[:, tf.newaxis, :, tf.newaxis], tf.float32
        )
    pixels = tf.cast(images, tf.float32)
    share = tf.reduce_mean(weights * tf.ones([1, height, width, 1]), axis=[1, 2])  # (batch, 1)
    return pixels * (1 - weights) + pixels[::-1] * weights, targets * (1 - share) + targets[::-1] * share


def _near(size: int, side: Any, seed: Any) -> Any:
    """bool (batch, size): positions in an interval of ``side`` times ``size`` around a random centre."""
    centre = tf.random.stateless_uniform(tf.shape(side), seed) * size  # (batch, 1)
    return tf.abs(tf.range(size, dtype=tf.float32)[tf.newaxis] + 0.5 - centre) < side * size / 2


def _whole(batch: Any, limit: int, seed: Any) -> Any:
    """int32 (batch, 1), 0 <= value < limit."""
    return tf.random.stateless_uniform([batch, 1], seed, 0, limit, tf.int32)


def _between(shape: list[Any], low: float, high: float, seed: Any) -> Any:
    """float32 of ``shape``, uniform between ``low`` and ``high``."""
    return tf.random.stateless_uniform(shape, seed) * (high - low) + low
