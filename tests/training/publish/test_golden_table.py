"""Golden rows of a table follow the statistics of its columns, and are none of its rows unless they may be."""

import dataclasses

import numpy as np

from app.contract.model_spec import ModelSpec
from app.contract.steps import Classification
from app.contract.tensor_spec import TensorSpec
from training.data.pipelines import TablePipeline
from training.datasets.splits import Examples
from training.export.model_export import OPSET, keras_runner
from training.network.table_networks import TableNetwork, build_table_network
from training.publish.golden_table import UNKNOWN, golden_table
from training.recipe.recipe import Signature

LABELS = ("low", "high")


def version():
    rng = np.random.default_rng(0)
    rows = np.empty(200, [("age", np.float32), ("plan", object)])
    rows["age"] = rng.normal(40, 10, 200)
    rows["age"][:20] = np.nan
    rows["plan"] = [b"plus" if number % 4 else b"basic" for number in range(200)]
    examples = Examples(instances=rows, labels=(np.arange(200) % 2).astype(np.int32))
    feed = TablePipeline().bind(examples, classes=2)
    model = build_table_network(TableNetwork(name="linear"), Signature.of(feed, classes=2))
    spec = ModelSpec(
        name="members",
        inputs=feed.inputs,
        outputs=(TensorSpec(name="probabilities", dtype="float32", shape=(2,), minimum=0, maximum=1),),
        postprocessing=Classification(output="probabilities", labels=LABELS),
        opset=OPSET,
        trained_on="nothing",
    )
    return spec, model, feed.table, rows


def test_the_samples_have_the_range_the_gaps_and_the_categories_of_the_columns():
    spec, model, table, rows = version()
    samples = golden_table(spec, model, table)
    ages, plans = samples["age"], samples["plan"]
    assert len(ages) == len(plans) == 64
    assert ages.dtype == np.float32
    assert np.isnan(ages).any()
    low, high = np.nanpercentile(rows["age"], (1, 99))
    assert np.nanmin(ages) >= low - 1e-3
    assert np.nanmax(ages) <= high + 1e-3
    assert set(plans) == {b"plus", b"basic", UNKNOWN}
    assert not set(ages[~np.isnan(ages)]) & set(rows["age"])


def test_they_are_the_same_for_equal_models_and_show_the_classes_that_the_model_gives():
    spec, model, table, _ = version()
    one, again = golden_table(spec, model, table), golden_table(spec, model, table)
    np.testing.assert_array_equal(one["age"], again["age"])
    assert one["plan"].tolist() == again["plan"].tolist()
    answers = keras_runner(model, spec)(one)["probabilities"].argmax(axis=1)
    assert set(answers) == {0, 1}


def test_held_out_rows_come_first_but_for_those_that_the_model_refuses():
    spec, model, table, rows = version()
    held_out = rows[:40].copy()
    held_out["age"] = np.arange(40) + 0.5
    held_out["age"][0] = np.nan
    samples = golden_table(spec, model, table, held_out)
    assert np.isnan(samples["age"]).any()
    published = set(samples["age"]) & set(held_out["age"])
    assert len(published) >= 30  # the others make room for a class that is rarer
    whole = dataclasses.replace(table, numbers=tuple(dataclasses.replace(each, missing=0.0) for each in table.numbers))
    assert not np.isnan(golden_table(spec, model, whole, held_out)["age"]).any()
