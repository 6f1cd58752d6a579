"""What a published version gets from its run: the contract, golden samples, a baseline."""

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from app.contract.model_spec import LITE_FILE, ModelSpec
from app.contract.steps import BatchingHints
from training.data.pipelines import Feed
from training.datasets.splits import Generated, Splits
from training.measure.evaluate import predict
from training.measure.label_sets import MultiLabel
from training.measure.several_outputs import SeveralTasks
from training.recipe.recipe import Recipe

if TYPE_CHECKING:
    from training.publish.golden_rows import Material
    from training.publish.publish import Card

BASELINE_ROWS = 5000
EXAMPLES = 320
"""Most held-out rows that golden samples are chosen from, if a recipe publishes examples."""


def check_formats(recipe: Recipe, feed: Feed, splits: Splits) -> None:
    """Convert the untrained network to the further formats of the recipe, so that none fails after the training.

    Raises:
        ExportFailed: it has no such form; names the operations.
    """
    if not recipe.formats:
        return
    from training.export.lite import export_lite
    from training.fit.stages import build_model

    model = build_model(recipe, feed, classes=splits.classes)
    with TemporaryDirectory(prefix="atelier-formats-") as folder:
        export_lite(model, model_spec(recipe, feed, splits, model), Path(folder, LITE_FILE))


def baseline_of(recipe: Recipe, model: Any, feed: Feed, splits: Splits) -> dict[str, Any]:
    """Statistics of inputs and predictions on about BASELINE_ROWS training rows."""
    sample = feed.sample(splits.train, BASELINE_ROWS)
    answers = predict(model, feed, sample, batch_size=recipe.fitting.evaluation_batch_size)
    return {
        "inputs": dict(feed.described(sample)),
        "predictions": dict(recipe.task.statistics(answers, feed.truth(sample), names=splits.names)),
    }


def publish_trained(
    recipe: Recipe,
    feed: Feed,
    splits: Splits,
    model: Any,
    metrics: Mapping[str, Any],
    baseline: Mapping[str, Any],
    card: "Card",
    repository: Path,
) -> Path:
    """Publish the model of a run; its directory. Arguments and errors: see ``publish_model``."""
    from training.publish.publish import publish_model

    return publish_model(
        model,
        model_spec(recipe, feed, splits, model),
        tokenizer=feed.tokenizer,
        material=_material(recipe, feed, splits),
        metrics=metrics,
        baseline=baseline,
        card=card,
        repository=repository,
        keep_weights=recipe.keep_weights,
        tflite="tflite" in recipe.formats,
    )


def _material(recipe: Recipe, feed: Feed, splits: Splits) -> "Material":
    """What golden samples are made from: held-out rows if the recipe publishes them, else what its source draws.

    Rows of tables are drawn from the statistics of their columns.
    """
    from training.publish.golden_rows import Material

    if recipe.publish_examples:
        test = splits.read_test()
        shown = (test if len(test) else splits.validation).instances
        if feed.table or feed.arrays:
            rows = np.asarray(shown)[:EXAMPLES]
            return Material(table=feed.table, arrays=feed.arrays, rows=rows, every_class=False)
        if isinstance(shown, tuple):
            return Material(texts=shown[:EXAMPLES], every_class=False)
        return Material(pictures=np.asarray(shown[np.arange(min(EXAMPLES, len(shown)))]), every_class=False)
    if feed.table or feed.arrays:
        return Material(table=feed.table, arrays=feed.arrays, every_class=False)
    several = isinstance(recipe.task, MultiLabel | SeveralTasks)  # no class of theirs need ever be the best
    if not isinstance(recipe.data, Generated):
        return Material(every_class=False)
    texts = recipe.data.synthetic().train.instances
    return Material(texts=texts if isinstance(texts, tuple) else (), every_class=not several)


def model_spec(recipe: Recipe, feed: Feed, splits: Splits, model: Any) -> ModelSpec:
    """The recipe's model.json."""
    from training.export.model_export import OPSET, framework_versions

    # A temperature in a layer of its own gives the output another name than the network had (``check_names``).
    shapes = zip(recipe.task.activations, model.outputs, strict=True)
    lengths = {name: int(output.shape[-1]) for name, output in shapes}
    return ModelSpec(
        name=recipe.name,
        description=recipe.description,
        inputs=feed.inputs,
        outputs=recipe.task.tensors(lengths),
        preprocessing=feed.preprocessing,
        postprocessing=recipe.task.postprocessing(splits.names),
        batching=BatchingHints(max_batch_size=recipe.max_batch_size),
        opset=OPSET,
        trained_on=f"{splits.name} ({splits.form})" if splits.form != splits.name else splits.name,
        frameworks=framework_versions(),
    )
