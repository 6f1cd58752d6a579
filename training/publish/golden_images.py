"""Golden images: drawings, blends of drawings and drawings with noise; and encoded ones, small and photo-like."""

import io

import numpy as np
import numpy.typing as npt
from PIL import Image

from app.contract.golden import RawSample
from app.contract.steps import ImagePreprocessing
from app.contract.tensor_spec import TensorSpec
from app.contract.transforms import image_to_instance
from training.datasets.drawn import synthetic
from training.publish.ascent import as_instance
from training.publish.golden_search import Judge

DRAWN, BLENDED, NOISY = 320, 160, 160  # rows to choose from
NOISE = 40.0  # standard deviation, in grey levels
RAW_GARMENTS = ("Ankle boot", "Bag", "Trouser", "Dress")
RAW_BLOBS = 4
RAW_EXAMPLES = 16

Images = npt.NDArray[np.uint8]


def golden_images(judge: Judge, pictures: Images | None = None) -> Images:
    """uint8 (64, *shape) on which the model gives every class; garments for grey inputs, blobs for colour.

    Args:
        judge: the model's answers.
        pictures: uint8 (rows, *shape) that come first, if the recipe publishes examples.
    """
    shape = judge.target.shape
    rng = np.random.default_rng(20)
    draw = synthetic.coloured_blobs if len(shape) == 3 else synthetic.fashion_images
    drawn = np.stack([_resized(image, shape) for image in draw(DRAWN, seed=20)[0]]).astype(np.float64)
    one, other = rng.integers(DRAWN, size=(2, BLENDED))
    share = rng.uniform(0.3, 0.7, (BLENDED, *([1] * len(shape))))
    blended = share * drawn[one] + (1 - share) * drawn[other]
    noisy = drawn[rng.integers(DRAWN, size=NOISY)] + rng.normal(0, NOISE, (NOISY, *shape))
    pool = as_instance(np.concatenate([drawn, blended, noisy]), judge.target)
    return judge.cover(pool if pictures is None else np.concatenate([pictures[:DRAWN], pool]))


def raw_images(judge: Judge, steps: ImagePreprocessing, pictures: Images | None = None) -> tuple[RawSample, ...]:
    """PNG files in the model's own size, and larger ones in colour that go through all its steps.

    Args:
        judge: the model's answers.
        steps: of model.json.
        pictures: the first of them become PNG files, too.
    """
    files = _garments(judge.target) if len(judge.target.shape) == 2 else _blobs(judge.target)
    files |= {f"example-{number}.png": _encoded(image, "PNG") for number, image in enumerate(_some(pictures), start=1)}
    instances = {
        name: image_to_instance(data, preprocessing=steps, target=judge.target) for name, data in files.items()
    }
    return tuple(
        RawSample(name=name, data=files[name], label=label) for name, label in judge.labelled(instances).items()
    )


def _some(pictures: Images | None) -> Images | tuple[()]:
    return () if pictures is None else pictures[:RAW_EXAMPLES]


def _garments(target: TensorSpec) -> dict[str, bytes]:
    files = {}
    for garment in RAW_GARMENTS:
        name = garment.lower().replace(" ", "-")
        files[f"{name}.png"] = _encoded(_resized(synthetic.draw_garment(garment), target.shape), "PNG")
        files[f"{name}-photo.png"] = _encoded(synthetic.draw_photo(garment), "PNG")
    return files


def _blobs(target: TensorSpec) -> dict[str, bytes]:
    files = {}
    for number, blob in enumerate(synthetic.coloured_blobs(RAW_BLOBS, seed=21)[0]):
        files[f"blob-{number}.png"] = _encoded(_resized(blob, target.shape), "PNG")
        files[f"blob-{number}-photo.jpg"] = _encoded(_resized(blob, (200, 300)), "JPEG")
    return files


def _resized(image: Images, shape: tuple[int, ...]) -> Images:
    if image.shape[:2] == shape[:2]:
        return image
    return np.asarray(Image.fromarray(image).resize((shape[1], shape[0]), Image.Resampling.LANCZOS))


def _encoded(picture: Images, form: str) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, form, optimize=True, quality=90)
    return buffer.getvalue()
