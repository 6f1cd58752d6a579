"""Golden inputs: drawn and written instances on which the model gives every class, and lengths from 1 to the maximum.

Nothing here is from a data set. A class that no drawing gets is reached by gradient ascent from the drawing
that comes nearest to it; in texts, by exchanging words.
"""

import io
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from app.contract.golden import MINIMUM_ROWS, RawSample
from app.contract.model_spec import ImagePreprocessing, ModelSpec, TensorSpec, TextPreprocessing
from app.contract.tokenizer import UNKNOWN_ID, Tokenizer, pad
from app.contract.transforms import image_to_instance
from training.ascent import as_instance, climb, value_range
from training.datasets import synthetic
from training.errors import TrainingError
from training.export import Runner, keras_runner

ROWS = MINIMUM_ROWS
POOL = 640  # instances to choose from
TOLERANCE: Mapping[str, float] = {
    # Float32 on the CPU, other order of summation than Keras: measured differences stay below 1e-6.
    "CPUExecutionProvider": 1e-5,
    # cuDNN and cuBLAS choose their kernels by batch size and device; float32 without TF32, so ten times the CPU's.
    "CUDAExecutionProvider": 1e-4,
    # TensorRT also fuses layers across nonlinearities; still float32.
    "TensorrtExecutionProvider": 1e-3,
    # A provider that nobody has measured: float32 is expected, half precision would miss it.
    "default": 1e-4,
}

STARTS = 4  # of gradient ascents to one class
EXCHANGES, CANDIDATES = 200, 48
RAW_GARMENTS = ("Ankle boot", "Bag", "Trouser", "Dress")
RAW_LENGTHS = (1, 3, 12)  # sentences

Array = npt.NDArray[Any]
Rows = tuple[dict[str, Array], dict[str, Array], tuple[RawSample, ...]]


class GoldenIncomplete(TrainingError):
    """No instance was found on which the model gives a certain class."""


def golden_rows(spec: ModelSpec, model: Any, tokenizer: Tokenizer | None) -> Rows:
    """Golden inputs for a model, the same ones for equal models.

    Args:
        spec: signature; its preprocessing decides between drawn images, written texts and random numbers.
        model: the trained tf_keras.Model.
        tokenizer: for text models.

    Returns:
        inputs: input name -> (64, *shape); texts are padded with 0 to the spec's maximum length.
        lengths: input name -> int32 (64,), for inputs of variable length: 1, the maximum and a spread between.
        raw: encoded images or texts with the label that the model gives them.

    Raises:
        GoldenIncomplete: names the class that the model never gives.
        ValueError: a text model without its tokenizer.
    """
    runner = keras_runner(model, spec)
    rng = np.random.default_rng(20)
    if isinstance(spec.preprocessing, ImagePreprocessing):
        return _images(spec, model, runner, spec.preprocessing)
    if isinstance(spec.preprocessing, TextPreprocessing):
        if tokenizer is None:
            raise ValueError(f"{spec.name}: a text model comes with its tokenizer")
        return _texts(spec, runner, spec.preprocessing, tokenizer, rng)
    return _numbers(spec, model, runner, rng)


def keras_answers(keras: Runner, inputs: Mapping[str, Array], lengths: Mapping[str, Array]) -> dict[str, Array]:
    """Output name -> (rows, *shape): every row in a batch of its own, without its padding."""
    count = len(next(iter(inputs.values())))
    answers = [
        keras(
            {
                name: values[row : row + 1, : int(lengths[name][row])] if name in lengths else values[row : row + 1]
                for name, values in inputs.items()
            }
        )
        for row in range(count)
    ]
    return {name: np.concatenate([answer[name] for answer in answers]) for name in answers[0]}


# Images


def _images(spec: ModelSpec, model: Any, runner: Runner, steps: ImagePreprocessing) -> Rows:
    target = spec.input(steps.input)
    pool = _drawings(target, np.random.default_rng(20))
    scores = _scorer(spec, runner, target.name)
    chosen = _cover(spec, model, scores, pool)
    return {target.name: chosen}, {}, _raw_images(spec, runner, steps, target)


def _drawings(target: TensorSpec, rng: np.random.Generator) -> Array:
    """uint8 (640, *shape): drawings, blends of two, and drawings under noise."""
    grey = len(target.shape) == 2
    drawn, _ = (synthetic.fashion_images if grey else synthetic.coloured_blobs)(POOL // 2, seed=20)
    resized = [_resized(image, target.shape) for image in drawn]
    pool = np.stack(resized).astype(np.float64)
    one, other = rng.integers(len(pool), size=(2, POOL // 4))
    share = rng.uniform(0.3, 0.7, (len(one), *([1] * len(target.shape))))
    blends = share * pool[one] + (1 - share) * pool[other]
    noisy = pool[rng.integers(len(pool), size=POOL // 4)] + rng.normal(0, 40, (POOL // 4, *target.shape))
    return as_instance(np.concatenate([pool, blends, noisy]), target)


def _resized(image: Array, shape: tuple[int, ...]) -> Array:
    if image.shape == shape:
        return image
    return np.asarray(Image.fromarray(image).resize((shape[1], shape[0]), Image.Resampling.LANCZOS))


def _raw_images(
    spec: ModelSpec, runner: Runner, steps: ImagePreprocessing, target: TensorSpec
) -> tuple[RawSample, ...]:
    """PNG files in the model's own size, and larger ones in colour that go through all its steps."""
    pictures: dict[str, Array] = {}
    if len(target.shape) == 2:
        for name in RAW_GARMENTS:
            file = name.lower().replace(" ", "-")
            pictures[f"{file}.png"] = _resized(synthetic.draw_garment(name), target.shape)
            pictures[f"{file}-photo.png"] = synthetic.draw_photo(name)
    else:
        for number, blob in enumerate(synthetic.coloured_blobs(4, seed=21)[0]):
            pictures[f"blob-{number}.png"] = _resized(blob, target.shape)
            pictures[f"blob-{number}-photo.png"] = _resized(blob, (200, 300))
    instances = {
        file: image_to_instance(_png(picture), preprocessing=steps, target=target) for file, picture in pictures.items()
    }
    samples = _labelled(spec, runner, target.name, instances)
    return tuple(RawSample(name=file, data=_png(pictures[file]), label=label) for file, label in samples.items())


def _png(picture: Array) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


# Texts


def _texts(
    spec: ModelSpec, runner: Runner, steps: TextPreprocessing, tokenizer: Tokenizer, rng: np.random.Generator
) -> Rows:
    target = spec.input(steps.input)
    lengths = _spread(steps.max_length)
    groups = [_written(length, tokenizer, rng) for length in lengths]  # eight texts of each length
    scores = _scorer(spec, runner, target.name)
    classes = _classes(spec)
    rows: list[npt.NDArray[np.int32]] = []
    found: set[int] = set()
    for group in groups:  # of texts of one length, the one that gives a class not yet had, or the next in turn
        given = scores(np.stack(group)).argmax(1)
        fresh = [place for place, label in enumerate(given) if int(label) not in found]
        place = fresh[0] if fresh else len(rows) % len(group)
        found.add(int(given[place]))
        rows.append(group[place])
    for label in sorted(set(range(classes)) - found):
        rows[_middle(len(rows), label, classes)] = _text_for(label, spec, scores, tokenizer, rng)
    _check_all_given(spec, _given(scores, rows))
    inputs = {target.name: pad(rows, length=steps.max_length)}
    return (
        inputs,
        {target.name: np.array([len(row) for row in rows], np.int32)},
        _raw_texts(spec, runner, steps, tokenizer),
    )


def _spread(longest: int) -> list[int]:
    """64 lengths from 1 to ``longest``, short ones closer together; neighbours differ, so that batches are padded."""
    rising = np.geomspace(1, longest, ROWS).round().astype(int)
    return [int(length) for pair in zip(rising[: ROWS // 2], rising[ROWS // 2 :], strict=True) for length in pair]


def _written(length: int, tokenizer: Tokenizer, rng: np.random.Generator) -> list[npt.NDArray[np.int32]]:
    """Eight texts of exactly ``length`` tokens, negative and positive in turn."""
    texts = []
    for number in range(8):
        ids = np.zeros(0, np.int32)
        while len(ids) < length:
            ids = np.concatenate([ids, tokenizer.encode(synthetic.sentence(rng, positive=bool(number % 2)))])
        texts.append(ids[-length:] if tokenizer.keep == "last" else ids[:length])
    return texts


def _text_for(
    label: int, spec: ModelSpec, scores: Callable[[Array], Array], tokenizer: Tokenizer, rng: np.random.Generator
) -> npt.NDArray[np.int32]:
    """A text that gives ``label``: words are exchanged one at a time for whichever of 48 raises its probability."""
    text = rng.integers(UNKNOWN_ID, tokenizer.id_count, 12).astype(np.int32)[: tokenizer.max_length]
    for step in range(EXCHANGES):
        candidates = np.repeat(text[None], CANDIDATES, axis=0)
        candidates[1:, step % len(text)] = rng.integers(UNKNOWN_ID, tokenizer.id_count, CANDIDATES - 1)
        answers = scores(candidates)
        text = candidates[int(answers[:, label].argmax())]
        if (answers.argmax(1) == label).any():
            return np.asarray(candidates[int(np.argmax(answers.argmax(1) == label))])
    raise _never(spec, label)


def _raw_texts(
    spec: ModelSpec, runner: Runner, steps: TextPreprocessing, tokenizer: Tokenizer
) -> tuple[RawSample, ...]:
    rng = np.random.default_rng(22)
    texts = {
        f"{'positive' if positive else 'negative'}-{count}.txt": " ".join(
            synthetic.sentence(rng, positive=positive) for _ in range(count)
        )
        for count in RAW_LENGTHS
        for positive in (False, True)
    }
    texts["unknown.txt"] = "…"
    samples = _labelled(spec, runner, steps.input, {file: tokenizer.encode(text) for file, text in texts.items()})
    return tuple(RawSample(name=file, data=texts[file].encode(), label=label) for file, label in samples.items())


# Any other input


def _numbers(spec: ModelSpec, model: Any, runner: Runner, rng: np.random.Generator) -> Rows:
    """Random numbers within the stated range; lengths from 1 to 64 where one varies."""
    inputs, lengths = {}, {}
    for tensor in spec.inputs:
        shape = tuple(ROWS if size == -1 else size for size in tensor.shape)
        values = _random(tensor, (ROWS, *shape), rng)
        if tensor.is_variable:
            if tensor.shape[0] != -1 or tensor.shape.count(-1) != 1:
                raise GoldenIncomplete(f"{spec.name}: only the first dimension of {tensor.name!r} may vary")
            lengths[tensor.name] = np.array(_spread(ROWS), np.int32)
            for row, length in enumerate(lengths[tensor.name]):
                values[row, length:] = 0
        inputs[tensor.name] = values
    if spec.postprocessing is not None and len(inputs) == 1 and not lengths:
        [tensor] = spec.inputs
        pool = np.concatenate([inputs[tensor.name], _random(tensor, (POOL, *tensor.shape), rng)])
        inputs = {tensor.name: _cover(spec, model, _scorer(spec, runner, tensor.name), pool)}
    return inputs, lengths, ()


def _random(tensor: TensorSpec, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    """Even over the range if the tensor states one (or is uint8), else standard normal."""
    low, high = value_range(tensor)
    if tensor.dtype == "float32":
        bounded = np.isfinite(low) and np.isfinite(high)
        return (rng.uniform(low, high, shape) if bounded else rng.normal(size=shape)).astype(np.float32)
    return rng.integers(int(low), int(min(high, low + 1000)), shape, endpoint=True).astype(tensor.numpy_dtype)


# Finding every class


def _cover(spec: ModelSpec, model: Any, scores: Callable[[Array], Array], pool: Array) -> Array:
    """64 rows of ``pool`` in which every class is given, each about equally often; missing ones are climbed to."""
    if spec.postprocessing is None:
        return pool[:ROWS]
    answers = scores(pool)
    given = answers.argmax(1)
    groups = []
    for label in range(_classes(spec)):
        members = pool[given == label]
        if not len(members):
            starts = pool[np.argsort(-answers[:, label])[:: len(pool) // STARTS]]  # the nearest first
            climbed = (climb(model, label=label, start=start, tensor=spec.inputs[0]) for start in starts)
            reached = next((instance for instance in climbed if instance is not None), None)
            if reached is None:
                raise _never(spec, label)
            members = reached[None]
        groups.append(members)
    chosen: list[Array] = []
    turn = 0
    while len(chosen) < max(ROWS, len(groups)):
        for members in groups:
            if turn < len(members):
                chosen.append(members[turn])
        turn += 1
    rows = np.stack(chosen[: max(ROWS, len(groups))])
    _check_all_given(spec, scores(rows).argmax(1))
    return rows


def _scorer(spec: ModelSpec, runner: Runner, name: str) -> Callable[[Array], Array]:
    """A function from a batch of the one input to the class scores, float32 (rows, classes)."""
    output = spec.outputs[0].name if spec.postprocessing is None else spec.postprocessing.output
    return lambda batch: runner({name: batch})[output]


def _given(scores: Callable[[Array], Array], rows: list[npt.NDArray[np.int32]]) -> Array:
    return np.array([int(scores(row[None])[0].argmax()) for row in rows])


def _classes(spec: ModelSpec) -> int:
    return 0 if spec.postprocessing is None else len(spec.postprocessing.labels)


def _middle(rows: int, label: int, classes: int) -> int:
    """A row that is neither the shortest nor the longest, another one for every label."""
    return 4 + 2 * (label * ((rows - 8) // (2 * max(1, classes))))


def _labelled(spec: ModelSpec, runner: Runner, name: str, instances: Mapping[str, Array]) -> dict[str, str]:
    """File -> label that Keras gives it; files whose two best classes are closer than 0.02 are left out."""
    if spec.postprocessing is None:
        return {}
    scores = _scorer(spec, runner, name)
    labels = {}
    for file, instance in instances.items():
        answer = scores(instance[None])[0]
        second, first = np.sort(answer)[-2:]
        if first - second >= 0.02:
            labels[file] = spec.postprocessing.labels[int(answer.argmax())]
    return labels


def _check_all_given(spec: ModelSpec, given: Array) -> None:
    for label in range(_classes(spec)):
        if label not in given:
            raise _never(spec, label)


def _never(spec: ModelSpec, label: int) -> GoldenIncomplete:
    name = str(label) if spec.postprocessing is None else spec.postprocessing.labels[label]
    return GoldenIncomplete(f"{spec.name}: no instance was found that the model takes for {name!r}")
