"""Large photographs: reduced while they are decoded, with a limit on the difference."""

import functools

import numpy as np
import onnxruntime
import pytest
from PIL import Image, ImageDraw

from app.contract import transforms
from app.contract.images.image_file import open_image
from app.contract.images.pixels import in_mode
from app.contract.model_spec import ModelSpec
from app.contract.steps import ImagePreprocessing
from app.contract.tensor_spec import TensorSpec
from app.contract.transforms import apply_steps, image_to_instance
from tests.support.cost import time_ratio
from tests.support.images import encode
from tests.support.service import ROOT

# Largest difference between the reduced and the full path, of 255 levels, on average over an instance.
MOST_LEVELS = 2.0
# Labels are compared where the best one leads by that much: a smaller lead is a tie that any change may reverse.
LEAD = 0.05


@functools.lru_cache(maxsize=5)  # CASES takes a seed for several forms in a row
def photograph(seed, *, size=(2100, 1500)):
    """A garment on a ground with the noise of a camera: in a studio, or (every fourth) on a patterned blanket.

    The ground of a studio is even enough for ``trim`` to cut it away, the blanket is not. In between, a single noisy
    pixel decides what is cut, with or without reducing.
    """
    random = np.random.default_rng(seed)
    width, height = size
    if seed % 4 == 3:
        x, y = np.linspace(0, 30, width, dtype=np.float32), np.linspace(0, 20, height, dtype=np.float32)
        ground = 180 + 30 * np.sin(x)[None, :] + 30 * np.cos(y)[:, None]
    else:
        ground = np.linspace(204, 206, width * height, dtype=np.float32).reshape(height, width)
    ground += random.normal(0, 1.2, (height, width)).astype(np.float32)
    image = Image.fromarray(np.repeat(ground.clip(0, 255).astype(np.uint8)[..., None], 3, axis=2))
    draw = ImageDraw.Draw(image)

    def polygon(points, colour):
        draw.polygon([(a * width, b * height) for a, b in points], fill=colour)

    colours = [tuple(int(v) for v in random.integers(20, 150, 3)) for _ in range(3)]
    shape = seed % 5
    if shape == 0:  # a shirt
        polygon([(0.3, 0.2), (0.7, 0.2), (0.66, 0.85), (0.34, 0.85)], colours[0])
        polygon([(0.3, 0.2), (0.18, 0.45), (0.26, 0.5), (0.36, 0.38)], colours[1])
        polygon([(0.7, 0.2), (0.82, 0.45), (0.74, 0.5), (0.64, 0.38)], colours[1])
    elif shape == 1:  # trousers
        polygon([(0.38, 0.1), (0.62, 0.1), (0.66, 0.9), (0.54, 0.9), (0.5, 0.4), (0.46, 0.9), (0.34, 0.9)], colours[0])
    elif shape == 2:  # a boot
        polygon([(0.35, 0.2), (0.55, 0.2), (0.56, 0.55), (0.85, 0.7), (0.85, 0.8), (0.35, 0.8)], colours[0])
        polygon([(0.35, 0.76), (0.85, 0.76), (0.85, 0.82), (0.35, 0.82)], colours[2])
    elif shape == 3:  # a bag
        polygon([(0.25, 0.4), (0.75, 0.4), (0.8, 0.85), (0.2, 0.85)], colours[0])
        draw.arc([0.35 * width, 0.15 * height, 0.65 * width, 0.65 * height], 180, 360, colours[1], width=height // 25)
    else:  # a dress
        polygon([(0.42, 0.1), (0.58, 0.1), (0.56, 0.4), (0.72, 0.9), (0.28, 0.9), (0.44, 0.4)], colours[0])
    return image


def bordered(image):
    framed = Image.new("RGB", (image.width + 400, image.height + 300), (250, 250, 250))
    framed.paste(image, (200, 150))
    return framed


def turned(image, **options):
    exif = Image.Exif()
    exif[0x0112] = 6
    return encode(image, "JPEG", exif=exif, **options)


def deep(image):
    return Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)


def layered(image):
    layer = image.convert("RGBA")
    layer.putalpha(Image.linear_gradient("L").resize(image.size).point(lambda v: 255 - v // 8))
    return layer


FORMS = {
    "JPEG": lambda image: encode(image, "JPEG", quality=85),
    "progressive JPEG": lambda image: encode(image, "JPEG", quality=80, progressive=True),
    "turned JPEG": lambda image: turned(image, quality=90),
    "bordered JPEG": lambda image: encode(bordered(image), "JPEG", quality=85),
    "grey JPEG": lambda image: encode(image.convert("L"), "JPEG", quality=85),
    "CMYK JPEG": lambda image: encode(image.convert("CMYK"), "JPEG", quality=90),
    "PNG": lambda image: encode(image, "PNG", compress_level=1),
    "PNG with transparency": lambda image: encode(layered(image), "PNG", compress_level=1),
    "PNG of 16 bits": lambda image: encode(deep(image), "PNG", compress_level=1),
    "PNG with a palette": lambda image: encode(image.quantize(64), "PNG", compress_level=1),
    "WebP": lambda image: encode(image, "WEBP", quality=80, method=0),
    "TIFF": lambda image: encode(image, "TIFF", compression="tiff_lzw"),
}
CASES = [(form, seed) for index, form in enumerate(FORMS) for seed in range(index, index + (5 if index < 2 else 4))]


@functools.cache
def published(name):
    version = max((ROOT / "models" / name).glob("[0-9]*"), key=lambda path: int(path.name))
    session = onnxruntime.InferenceSession(version / "model.onnx", providers=["CPUExecutionProvider"])
    return ModelSpec.read(version), session


def the_full_way(data, preprocessing, target):
    """The instance of an image that is decoded whole."""
    image = apply_steps(open_image(data).decode(), preprocessing.steps)
    return np.asarray(in_mode(image, "L" if len(target.shape) == 2 else "RGB"))


@functools.cache
def photographs():
    assert len(CASES) == 50
    return [(form, seed, FORMS[form](photograph(seed))) for form, seed in CASES]


@functools.cache
def instances(preprocessing, target):
    """(form, seed, instance of the reduced photograph, of the whole one) for this preprocessing and input, as JSON."""
    steps, given = ImagePreprocessing.model_validate_json(preprocessing), TensorSpec.model_validate_json(target)
    found = []
    for form, seed, data in photographs():
        assert open_image(data, longest_edge=max(given.shape[:2])).factor > 1
        reduced = image_to_instance(data, preprocessing=steps, target=given)
        found.append((form, seed, reduced, the_full_way(data, steps, given)))
    return found


@pytest.mark.parametrize("name", ["fashion-mnist-cnn", "fashion-mnist-mlp", "cats-vs-dogs-cnn"])
def test_fifty_large_photographs_differ_by_two_levels_at_most_and_get_the_same_labels(name):
    spec, session = published(name)
    target = spec.input(spec.preprocessing.input)
    decided = 0
    for form, seed, reduced, whole in instances(spec.preprocessing.model_dump_json(), target.model_dump_json()):
        levels = np.abs(reduced.astype(int) - whole.astype(int)).mean()
        assert levels <= MOST_LEVELS, f"{form} of photograph {seed}: {levels:.2f} levels"
        (scores,) = session.run(None, {target.name: np.stack([reduced, whole])})
        second, best = np.sort(scores[1])[-2:]
        if best - second >= LEAD:
            decided += 1
            assert scores[0].argmax() == scores[1].argmax(), f"{form} of photograph {seed}"
    assert decided >= 40


def test_a_large_photograph_takes_little_more_time_than_pillow_needs_to_decode_it():
    spec, _ = published("fashion-mnist-cnn")
    data = encode(photograph(0, size=(4000, 3000)), "JPEG", quality=85)

    def whole():
        image_to_instance(data, preprocessing=spec.preprocessing, target=spec.input(spec.preprocessing.input))

    assert time_ratio(whole, lambda: open_image(data).decode(), below=2.0, attempts=8) < 2.0


@pytest.mark.parametrize("form", ["progressive JPEG", "PNG", "WebP", "TIFF"])
def test_the_reserved_memory_grows_with_the_declared_pixels(form):
    sizes = ((2000, 1400), (4000, 2800))  # reduced by 2 and by 4
    small, large = (open_image(FORMS[form](photograph(0, size=size)), longest_edge=28).peak_bytes for size in sizes)
    assert 3 * small < large <= 4 * small


def trim_in_floating_point(image, fuzz=0.05):
    """The box of ``trim`` in floating point, with which earlier versions were published."""
    pixels = np.asarray(image.convert("RGB"), dtype=np.float32)
    corners = pixels[[0, 0, -1, -1], [0, -1, 0, -1]]
    distance = np.min([np.linalg.norm(pixels - corner, axis=2) for corner in corners], axis=0)
    rows, columns = np.nonzero(distance > fuzz * 255 * 3**0.5)
    if not len(rows):
        return image
    return image.crop((int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1))


@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize("fuzz", [0.0, 0.02, 0.05, 0.3, 1.0])
def test_an_image_below_a_megapixel_is_trimmed_to_the_same_bits_as_in_floating_point(mode, fuzz):
    random = np.random.default_rng(7)
    for seed in range(20):
        edge = (int(random.integers(1, 900)), int(random.integers(1, 700)))
        image = (
            photograph(seed, size=edge) if seed % 2 else Image.fromarray(random.integers(0, 9, edge[::-1], np.uint8))
        )
        image = image.convert(mode)
        trimmed = transforms.trim(transforms.Canvas(image, (0, 0, 0)), fuzz=fuzz).image
        expected = trim_in_floating_point(image, fuzz)
        assert trimmed.size == expected.size
        np.testing.assert_array_equal(np.asarray(trimmed), np.asarray(expected))
