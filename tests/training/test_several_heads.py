"""Networks with several inputs and outputs: trained, measured and published by head; mistakes are refused before."""

from dataclasses import replace
from functools import partial
from zipfile import ZipFile

import numpy as np
import pytest

from app.contract.golden import Golden
from app.contract.manifest import verify_manifest
from app.contract.model_spec import ModelSpec
from tests.training.several_heads import TARGETS, arrays, heads, recipe, source
from training.data.pipelines import ArrayPipeline, TablePipeline
from training.datasets.check import check_splits
from training.errors import DataDamaged, DataMissing, DataUnusable, SettingRefused
from training.export.converting import ExportFailed
from training.fit.run_files import Progressed
from training.measure.evaluate import predict
from training.measure.label_sets import MultiLabel
from training.measure.tasks import Classify, Regress
from training.network.table_networks import TableNetwork, build_table_network, in_own_unit
from training.overrides import apply_overrides, settings
from training.recipe.fitting import Fitting, Loss
from training.recipe.heads import Head
from training.recipe.recipe import Targets
from training.recipe.recipe_data import read_recipe_data
from training.runs.evaluate_command import evaluate_run
from training.runs.record import Plan
from training.runs.run import run
from training.runs.series import telling
from training.sources.array_file import read_arrays
from training.sources.named_arrays import ArrayTarget
from training.sources.table import Table
from training.sources.targets import Target


@pytest.fixture(scope="module")
def outcome(tmp_path_factory):
    """One run of the recipe, published."""
    from rich.console import Console

    folder = tmp_path_factory.mktemp("heads")
    return run(recipe(), Plan(repository=folder / "models"), directory=folder / "run", console=Console(quiet=True))


def test_every_head_is_trained_and_measured_with_its_own_figures(outcome):
    figures = outcome.test.as_json()["heads"]
    assert figures["kind"]["accuracy"] == 1
    assert figures["tags"]["micro_f1"] > 0.8
    assert set(figures["tags"]["per_label"]) == {"tall", "wide"}
    assert figures["price"]["rmse"] < 0.9  # the price varies by 1.8
    assert outcome.test.headline.startswith("kind accuracy 1.0000, tags micro F1 0.")
    last = Progressed.read(outcome.directory).history[-1]
    both = last["kind_loss"] + last["tags_loss"] + 0.3 * last["price_loss"]
    assert last["loss"] == pytest.approx(both, rel=1e-4)  # float32 means over the same batches
    assert [name for name, _, _ in telling(outcome.metrics)] == [
        "accuracy of kind",
        "micro_f1 of tags",
        "rmse of price",
    ]


def test_the_version_states_every_input_and_output_and_its_golden_samples_have_them(outcome):
    verify_manifest(outcome.version)
    spec = ModelSpec.read(outcome.version)
    assert [(each.name, each.dtype, each.shape) for each in spec.inputs] == [
        ("pixels", "uint8", (4, 4)),
        ("numbers", "float32", (2,)),
    ]
    assert [(each.name, each.shape) for each in spec.outputs] == [("kind", (2,)), ("tags", (2,)), ("price", (1,))]
    assert (spec.postprocessing.output, spec.postprocessing.labels) == ("kind", ("bright", "dark"))
    golden = Golden.read(outcome.version)
    assert {name: values.shape for name, values in golden.outputs.items()} == {
        "kind": (64, 2),
        "tags": (64, 2),
        "price": (64, 1),
    }
    assert set(golden.outputs["kind"].argmax(axis=1)) == {0, 1}
    rows = {row.tobytes() for row in arrays()["pixels"]}
    assert not rows & {row.tobytes() for row in golden.inputs["pixels"]}  # none is of the data


def test_report_and_card_have_the_figures_of_every_head(outcome):
    page, card = (outcome.directory / "report.html").read_text(), (outcome.version / "card.md").read_text()
    for shown in ("Test accuracy of kind", "Test micro F1 of tags", "Test root mean squared error of price"):
        assert shown in page
        assert shown in card
    for shown in ("Confusion matrix of kind", "Labels of tags", "Residuals of price"):
        assert shown in page
    assert "A label is given from 0.5 up, so an answer may be several labels, or none." in card
    assert "| Calibration | none: a network with several heads has no temperature |" in card


def test_evaluate_measures_the_heads_of_a_run_again(outcome, monkeypatch, capsys):
    monkeypatch.setattr("training.runs.evaluate_command.trained_recipe", lambda name: recipe())
    evaluate_run(outcome.directory)
    printed = " ".join(capsys.readouterr().out.split()).replace("root mean squared error of price", "rmse")
    assert f"rmse {outcome.validation.heads['price'].rmse:.4g}" in printed.replace(
        "root mean squared error of price", "rmse"
    )


def test_the_weight_and_the_loss_of_a_head_are_settings():
    paths = dict(settings(recipe()))
    assert paths["heads.price.weight"] == 0.3
    changed = apply_overrides(recipe(), ["heads.price.weight=2", "heads.kind.loss.label_smoothing=0.1"])
    assert (changed.heads[2].weight, changed.heads[0].loss.label_smoothing) == (2, 0.1)
    with pytest.raises(SettingRefused, match="the weight of head 'price' must be 0 or more, not -1"):
        apply_overrides(recipe(), ["heads.price.weight=-1"])


BINARY = Loss(name="binary-crossentropy")


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"heads": (*heads()[:2], heads()[0])}, "two heads are called 'kind'; give each output its own name"),
        ({"heads": heads(loss=None)}, "head 'price' has no loss; add for example loss=Loss.name='mean-squared-error'"),
        ({"heads": heads(loss=Loss())}, "head 'price': loss 'categorical-crossentropy' is not for Regress; choose one"),
        ({"heads": heads(task=MultiLabel(), metrics=("accuracy",), loss=BINARY)}, "'binary-accuracy'"),
        ({"heads": tuple(replace(head, weight=0) for head in heads())}, "the weight of every head is 0"),
        ({"heads": heads()[:1]}, "heads has only 'kind'; for one output use task, loss and metrics of the recipe"),
        ({"loss": Loss(name="mean-squared-error")}, "each head has its own loss; leave out the loss of the recipe"),
        ({"targets": Targets(test_accuracy=0.9)}, "targets.test_accuracy is for one class a row"),
    ],
)  # fmt: skip
def test_heads_that_do_not_fit_are_refused_when_the_recipe_is_read(changes, sentence):
    with pytest.raises(ValueError, match=sentence):
        recipe(**changes)


def renamed(name, task):
    return (*heads()[:2], Head(name=name, task=task, loss=Loss(name="mean-squared-error")))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"heads": renamed("cost", Regress())},
            "the heads are kind, tags, cost, but the targets of arrays are kind, tags, price",
        ),
        (
            {"heads": renamed("price", Classify())},
            r"the target of head 'price' has number \(float32, shape \(14., 1\)\), but Classify requires classes",
        ),
        ({"heads": (), "loss": Loss()}, "arrays has the targets kind, tags, price; give the recipe a head for each"),
        (
            {"data": source(targets=TARGETS[:1])},
            "the heads are kind, tags, price, but the targets of arrays are one target without a name",
        ),
    ],
)
def test_heads_without_their_targets_are_refused_before_the_training(changes, sentence):
    with pytest.raises(DataUnusable, match=sentence):
        read_recipe_data(recipe(**changes), synthetic=False)


def with_array(name, values):
    return lambda: {**arrays(), name: values}


def without_rows(name):
    return with_array(name, arrays()[name][:-1])


NUMBERS = arrays()["numbers"]
TWICE = (ArrayTarget(name="tags", predicts="labels", labels=("a", "a")),)
ALONE = (ArrayTarget(name="counts", predicts="classes", labels=("a",)),)
NUMBERED = (ArrayTarget(name="kind", predicts="classes", labels=("a", "b")),)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"inputs": ("pixels", "number")}, "arrays has no array 'number'; did you mean 'numbers'?"),
        ({"inputs": ("pixels", "kind")}, "the array 'kind' is used twice, as input, target or weight"),
        ({"targets": (*TARGETS, TARGETS[0])}, "two targets are called 'kind'"),
        ({"made": without_rows("price")}, r"'price' has shape \(199,\), but 'pixels' has 200 rows"),
        ({"made": with_array("numbers", arrays()["kind"])}, "'numbers' has dtype <U6; an input has numbers: give"),
        ({"made": with_array("numbers", np.where(NUMBERS[6] == NUMBERS, np.nan, NUMBERS))}, "row 7 of 'numbers' has"),
        ({"made": with_array("price", arrays()["kind"])}, r"'price' is <U6 of shape \(200,\); to predict a number"),
        ({"made": with_array("kind", NUMBERS)}, r"'kind' is float64 of shape \(200, 2\); to predict classes"),
        ({"made": with_array("tags", NUMBERS)}, r"'tags' is float64 of shape \(200, 2\); to predict labels"),
        ({"made": with_array("tags", np.zeros((200, 3), bool))}, "'tags' has 3 columns, but 2 names in labels"),
        ({"made": with_array("tags", NUMBERS > [0, 9])}, "no training row has the label 'wide'"),
        ({"made": with_array("kind", np.full(200, 2)), "targets": NUMBERED}, "row 1 of 'kind' has the class 2"),
        ({"made": with_array("kind", np.full(200, "c")), "targets": NUMBERED}, "the class 'c', which is not"),
        ({"made": with_array("kind", np.full(200, "x"))}, "'kind' has 1 classes; 2 to 100 are accepted"),
        ({"made": with_array("kind", np.full(200, b"\xff"))}, r"'kind' has b'\\xff', which is not UTF-8"),
        ({"made": with_array("kind", np.array(["", "x"] * 100))}, "the name '' of class or label 0 is not a text"),
        ({"made": with_array("kind", np.array(["\ud800", "x"] * 100))}, r"the name '\\ud800' of class or label 1 is"),
        ({"targets": TWICE}, "two classes or labels are called 'a'"),
        ({"targets": ALONE}, "'counts' has one label, 'a'; at least two are required"),
        ({"targets": (replace(TARGETS[0], name=""),)}, "a target has no name"),
        ({"made": with_array("price", np.zeros((200, 0)))}, r"'price' has shape \(200, 0\), so there is no number"),
        ({"made": with_array("price", [[1], [1, 2]])}, "'price' is not an array"),
        ({"made": partial(dict, {7: NUMBERS})}, "has no array 'pixels'; there are: 7"),
        ({"made": lambda: 3}, "returned int; name -> array is expected"),
        ({"file": "also.npz"}, "give file or make, one of them"),
    ],
)  # fmt: skip
def test_arrays_that_are_of_no_use_are_refused_by_name_and_row(changes, sentence):
    with pytest.raises(DataUnusable, match=sentence):
        read_recipe_data(recipe(data=source(changes.pop("made", arrays), **changes)), synthetic=False)


def test_a_file_of_arrays_gives_the_same_rows_as_the_function(tmp_path):
    path = tmp_path / "arrays.npz"
    np.savez(path, **arrays())
    here, there = source().load(), source(None, file=str(path)).load()
    for part in ("train", "validation"):
        one, other = getattr(here, part), getattr(there, part)
        np.testing.assert_array_equal(one.instances, other.instances)
        np.testing.assert_array_equal(one.labels, other.labels)
    assert list(there.files) == [str(path)]


def header(text):
    """The beginning of an .npy file."""
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


PETABYTE = "{'descr': '<f8', 'fortran_order': False, 'shape': (140737488355328,), }\n"


@pytest.mark.parametrize(
    ("content", "error", "sentence"),
    [
        (None, DataMissing, "is not a file; give an .npz file"),
        (b"no zip", DataDamaged, "is not an .npz file of plain arrays"),
        ("objects", DataDamaged, "is not an .npz file of plain arrays: Object arrays cannot be loaded"),
        ("one", DataDamaged, "has one array without a name"),
        ({"x.npy": b"text"}, DataDamaged, "'x' is a file of another kind"),
        (
            {"x.npy": header("{'descr': '<f8', 'fortran_order': False, 'shape': (1,")},
            DataDamaged,
            "not an .npz file of",
        ),
        ({"x.npy": header(PETABYTE)}, DataUnusable, "'x' does not fit into memory"),
        ("cut", DataDamaged, "is not an .npz file of plain arrays: .*decompressing"),
        ("locked", DataDamaged, "is not an .npz file of plain arrays: .*encrypted"),
        ("long", DataMissing, "is not a file; give an .npz file"),
    ],
)
def test_a_file_that_is_not_one_of_arrays_is_refused(content, error, sentence, tmp_path):
    path = tmp_path / ("a" * 300 if content == "long" else "arrays.npz")
    if content == "objects":
        np.savez(path, **arrays(), x=np.array([{}], object))
    elif content in ("cut", "locked"):
        np.savez_compressed(path, x=NUMBERS)
        written = bytearray(path.read_bytes())
        if content == "cut":
            written[60:90] = bytes(30)
        else:  # the first flag of each member, there and in the directory
            written[6] = written[written.index(b"PK\x01\x02") + 8] = 1
        path.write_bytes(written)
    elif isinstance(content, dict):
        with ZipFile(path, "w") as archive:
            for member, data in content.items():
                archive.writestr(member, data)
    elif content == "one":
        with path.open("wb") as file:
            np.save(file, NUMBERS)
    elif isinstance(content, bytes):
        path.write_bytes(content)
    with pytest.raises(error, match=sentence):
        read_arrays(path, ["x"])


def test_arrays_of_a_file_that_are_not_used_are_not_read(tmp_path):
    path = tmp_path / "arrays.npz"
    np.savez(path, **arrays(), unused=np.array([{}], object))
    assert len(source(None, file=str(path)).load().train)


def test_whole_numbers_that_the_training_part_lacks_are_refused_with_their_row():
    whole = source(inputs=("pixels", "counts")).load()
    odd = whole.validation.instances.copy()
    odd["counts"][3] = 9
    changed = replace(whole, validation=replace(whole.validation, instances=odd))
    sentence = "row 3 of the validation part has 9 in 'counts', but the training part has 0 to 2"
    with pytest.raises(DataUnusable, match=sentence):
        ArrayPipeline().open(changed)
    wider = ArrayPipeline(largest={"counts": 9})
    _, tensor = wider.bind(wider.open(changed).train, classes=changed.classes).inputs
    assert (tensor.minimum, tensor.maximum) == (0, 9)


@pytest.mark.parametrize(
    ("outputs", "sentence"),
    [
        ({"kind": 2, "tags": 2}, "the network's tensors are called"),
        ({"tags": 2, "kind": 2, "price": 1}, "not .*'kind', 'tags', 'price'"),
        ({"kind": 2, "tags": 2, "price": 4}, r"output 'price' has shape \(4,\), but its target has 1 numbers"),
        ({"kind": 2, "tags": 2, "kind ": 1}, "two layers of the network have one name"),
    ],
)
def test_outputs_that_are_not_those_of_the_heads_are_refused_before_the_training(outputs, sentence, tmp_path, console):
    def build_wrong(network, signature):
        import tf_keras
        from tf_keras import layers

        inputs = [layers.Input(each.shape, dtype=each.dtype, name=each.name) for each in signature.inputs]
        x = layers.Concatenate()([layers.Rescaling(1.0)(layers.Flatten()(each)) for each in inputs])
        return tf_keras.Model(inputs, [layers.Dense(units, name=name.strip())(x) for name, units in outputs.items()])

    with pytest.raises(SettingRefused, match=sentence):
        run(recipe(build=build_wrong), Plan(), directory=tmp_path / "run", console=console)
    assert not list((tmp_path / "run").glob("*.npz"))


def test_a_format_of_image_models_is_refused_before_the_training(tmp_path, console):
    with pytest.raises(ExportFailed, match="tflite is a format of image models; this model takes 'pixels'"):
        run(recipe(formats=("tflite",), pipeline=ArrayPipeline()), Plan(), directory=tmp_path / "run", console=console)


def test_settings_for_one_output_are_refused_for_several(tmp_path, console):
    for changes, sentence in (
        ({"class_weights": "balanced"}, "the targets of this recipe are of several heads"),
        ({"mixed_precision": "mixed_bfloat16"}, "a network with several heads is trained in float32"),
        ({"monitor": "val_accuracy"}, "set fitting.monitor=val_loss"),
    ):
        fitting = Fitting(**({"epochs": 1, "batch_size": 10, "monitor": "val_loss"} | changes))
        with pytest.raises(SettingRefused, match=sentence):
            run(recipe(fitting=fitting), Plan(), directory=tmp_path / str(changes), console=console)


def test_a_table_with_several_targets_answers_each_in_its_own_unit(tmp_path, console):
    from training.fit.fit import fit

    rng = np.random.default_rng(7)
    sizes = rng.uniform(20, 120, 160)
    lines = [f"{size:.1f},{10 * size:.0f},{'flat' if size < 70 else 'house'}" for size in sizes]
    (tmp_path / "homes.csv").write_text("size,rent,kind\n" + "\n".join(lines) + "\n")
    table = Table(
        file=str(tmp_path / "homes.csv"),
        targets=(Target(name="price", predicts="number", column="rent"), Target(name="kind", predicts="classes")),
        numbers=("size",),
    )
    homes = recipe(
        data=table,
        pipeline=TablePipeline(),
        network=TableNetwork(units=(8,), dropout=0.0),
        build=build_table_network,
        finish=in_own_unit,
        heads=(heads()[2], heads()[0]),
        fitting=Fitting(epochs=8, batch_size=10, monitor="val_loss", watch=False),
    )
    splits = read_recipe_data(homes, synthetic=False)
    feed = homes.pipeline.bind(splits.train, classes=splits.classes)
    (tmp_path / "run").mkdir()
    trained = fit(homes, feed, splits, directory=tmp_path / "run", console=console)
    answers = predict(trained.model, feed, splits.validation, batch_size=8)
    figures = homes.task.measure(answers, feed.truth(splits.validation), names=splits.names).heads
    assert figures["kind"].accuracy > 0.9
    assert figures["price"].rmse < 100  # rents are from 200 to 1,200
    with pytest.raises(DataUnusable, match="the target 'rent' is also a column to predict from; remove it"):
        replace(table, numbers=("size", "rent")).load()
    with pytest.raises(DataUnusable, match="two targets are called 'kind'"):
        replace(table, targets=(*table.targets, table.targets[1])).load()
    with pytest.raises(DataUnusable, match="name what is to be predicted, either as target or as targets"):
        replace(table, target="rent").load()


def test_a_class_or_targets_that_only_the_validation_part_has_are_refused_by_head_and_row():
    splits = source().load()
    only_dark = splits.train.take(np.flatnonzero(splits.train.labels["kind"] == 1))
    two = replace(splits, heads={**splits.heads, "kind": ("bright", "dark", "grey")})
    grey = splits.validation.labels.copy()
    grey["kind"][5] = 2
    with pytest.raises(DataUnusable, match="head 'kind': row 5 of the validation part has the class 'grey', which no"):
        check_splits(replace(two, validation=replace(splits.validation, labels=grey)))
    with pytest.raises(DataUnusable, match=r"head 'kind': all .* training rows are of the class 'dark'"):
        check_splits(replace(splits, train=only_dark))
    wrong = splits.validation.labels.astype([("kind", "f4"), ("tags", "?", (2,)), ("price", "f4", (1,))])
    with pytest.raises(DataUnusable, match="head 'kind': the targets of the validation part have shape"):
        check_splits(replace(splits, validation=replace(splits.validation, labels=wrong)))
    fewer = splits.validation.labels[["kind", "tags"]]
    with pytest.raises(DataUnusable, match="the targets are kind, tags, not kind, tags, price"):
        check_splits(replace(splits, validation=replace(splits.validation, labels=fewer)))
