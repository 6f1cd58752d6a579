"""Golden samples of an imported model: its own answers, and whether they depend on the batch."""

from collections.abc import Callable, Mapping

import numpy as np

from app.contract.golden import LARGEST_TOLERANCE, MINIMUM_ROWS, Golden, magnitude
from app.contract.model_spec import ModelSpec
from app.contract.steps import BatchingHints, Classification
from app.types import Array, Tensors
from training.errors import SourceRefused, TrainingError
from training.export.parity import BATCH_SIZES, TOLERANCE, ParityBroken, check_runner
from training.importing.contract import Described
from training.importing.samples import lengths_of, one, runnable, showing_classes
from training.importing.sources.source import Source, in_short
from training.publish.golden_rows import TOLERANCE as TOLERANCES


def entered(source: Source, described: Described) -> Callable[[Tensors], dict[str, Array]]:
    """The model itself, with the inputs of the contract."""
    entrance = described.entrance

    def run(inputs: Tensors) -> dict[str, Array]:
        if entrance is not None:
            inputs = {entrance.source.name: entrance.numpy(inputs[entrance.target.name])}
        return dict(source.run(inputs))

    return run


def golden_of(
    spec: ModelSpec,
    run: Callable[[Tensors], dict[str, Array]],
    samples: Mapping[str, Array] | None,
    tolerance: float,
    notes: list[str],
) -> Golden:
    """Inputs with the answers of the model itself, each row alone and without its padding.

    Args:
        spec: the contract.
        run: the model itself, with the inputs of the contract.
        samples: given inputs; None generates them.
        tolerance: as in ``make_version``; those of other devices grow in proportion.
        notes: gets sentences about what was found.

    Raises:
        SourceRefused: the model does not run with the inputs, or its answers do not match its graph, or are not finite.
    """
    inputs = runnable(spec, run) if samples is None else dict(samples)
    lengths = lengths_of(spec, inputs)
    rows = len(next(iter(inputs.values())))
    try:
        answers = [run(one(inputs, lengths, row)) for row in range(rows)]
        outputs = {name: np.concatenate([answer[name] for answer in answers]) for name in answers[0]}
    except TrainingError:
        raise
    except Exception as error:
        raise SourceRefused(f"{spec.name}: the model does not run with the samples: {in_short(error)}") from error
    _check_outputs(spec, outputs, rows)
    step = spec.postprocessing
    if isinstance(step, Classification):
        scores = outputs[step.output]
        if samples is None:
            chosen = showing_classes(scores)
            inputs, outputs = ({n: v[chosen] for n, v in part.items()} for part in (inputs, outputs))
            lengths = {name: values[chosen] for name, values in lengths.items()}
            scores = outputs[step.output]
        shown = len(np.unique(scores.argmax(axis=1)))
        notes.append(f"the golden samples show {shown} of {len(step.labels)} classes")
        if not np.allclose(scores.sum(axis=1), 1, atol=1e-3) or scores.min() < 0:
            notes.append(f"the scores of {step.output!r} are not probabilities: they do not add up to 1")
    elif samples is None:
        inputs, outputs = ({n: v[:MINIMUM_ROWS] for n, v in part.items()} for part in (inputs, outputs))
    scale = tolerance / TOLERANCE
    tolerances = {
        name: min(LARGEST_TOLERANCE, value * scale) * magnitude(outputs) for name, value in TOLERANCES.items()
    }
    return Golden(inputs=inputs, lengths=lengths, outputs=outputs, tolerance=tolerances)


def _check_outputs(spec: ModelSpec, outputs: Mapping[str, Array], rows: int) -> None:
    for tensor in spec.outputs:
        values = outputs[tensor.name]
        if values.dtype != tensor.numpy_dtype or len(values) != rows:
            raise SourceRefused(
                f"{spec.name}: the model answers {rows} instances with {values.dtype} of shape {values.shape} for "
                f"{tensor.in_words}"
            )
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise SourceRefused(
                f"{spec.name}: the answers {tensor.name!r} contain NaN or infinity; give other inputs with --samples"
            )


def batch_sizes(
    described: Described,
    golden: Golden,
    run: Callable[[Tensors], dict[str, Array]],
    tolerance: float,
    notes: list[str],
    why_padding: Callable[[ModelSpec], str],
) -> tuple[tuple[int, ...], ModelSpec]:
    """Batch sizes to compare, and the contract: a model whose answers depend on the batch runs one instance at a time.

    Args:
        described: the contract as asked for.
        golden: rows with the answers of the model.
        run: the model itself, with the inputs of the contract.
        tolerance: largest absolute difference.
        notes: gets sentences about what was found.
        why_padding: ``Source.padding_counts``.

    Raises:
        SourceRefused: answers to texts depend on the batch.
    """
    spec, alone = described.spec, described.alone
    if not alone:
        try:
            check_runner("the model", golden, run, tolerance=tolerance, than="itself")
            return BATCH_SIZES, spec
        except ParityBroken as error:
            alone = str(error)
        except Exception as error:  # noqa: BLE001 - any exception of a library for a batch
            alone = f"a batch does not run: {in_short(error)}"
    if golden.lengths:
        if reason := why_padding(spec):
            raise SourceRefused(
                f"{spec.name}: padding changes the answers, so that texts of different lengths cannot share a batch: "
                f"{reason}. Or import the model without --as text"
            )
        raise SourceRefused(
            f"{spec.name}: padding or the batch changes the answers, so that texts of different lengths cannot share a "
            f"batch: {alone}. Use mask_zero=True and layers that heed masks, or import the model without --as text"
        )
    notes.append(f"instances run one at a time: {alone}")
    return (1,), spec.model_copy(update={"batching": BatchingHints(max_batch_size=1)})
