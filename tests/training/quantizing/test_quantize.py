"""``training quantize`` as a user sees it, and what the service makes of its versions."""

import json
import shutil
from types import SimpleNamespace

import numpy as np
import onnx
import pytest

from app.contract.golden import Golden
from app.contract.manifest import verify_manifest
from app.contract.model_spec import ModelSpec
from tests.support.service import ROOT, Service
from tests.support.training_command import run_training
from training.errors import SettingRefused
from training.measure.label_sets import MultiLabel
from training.quantizing.quantize import Request, check_kind
from training.runs.catalogue import load_recipe
from training.runs.directories import latest_version

RECIPE = "from tests.training.tiny import image_recipe\nRECIPE = image_recipe(epochs=2, target=0.1)\n"
NAME = "tiny-images"


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    folder = tmp_path_factory.mktemp("published")
    (folder / "tiny_images.py").write_text(RECIPE)
    done = run_training("run", "tiny_images.py", "--publish", cwd=folder)
    assert done.code == 0, done.err
    return folder


@pytest.fixture
def place(tmp_path, published):
    shutil.copytree(published, tmp_path, dirs_exist_ok=True)
    return tmp_path


def quantize(place, *options):
    return run_training("quantize", "tiny_images.py", *options, cwd=place)


def labels(place):
    return json.loads((place / "models" / NAME / "serving.json").read_text())["version_labels"]


def test_both_forms_are_published_beside_the_version_and_answer_by_their_labels(place):
    model = place / "models" / NAME
    first = quantize(place, "--to", "int8", "--calibration-rows", "64")
    assert (first.code, first.err) == (0, ""), first.out
    assert "accuracy, 40 validation rows" in first.out
    assert "version 1 has the label stable in models/tiny-images/serving.json now" in first.out
    assert "published: models/tiny-images/2, label int8" in first.out
    second = quantize(place, "--to", "float16")
    assert (second.code, second.err) == (0, ""), second.out
    assert "has the label stable" not in second.out
    assert labels(place) == {"stable": 1, "int8": 2, "float16": 3}
    for version, kind in ((2, "int8"), (3, "float16")):
        verify_manifest(model / str(version))
        metrics = json.loads((model / str(version) / "metrics.json").read_text())
        said = metrics["quantized"]
        assert (said["kind"], said["version"]) == (kind, "1")
        assert said["validation"]["after"]["accuracy"] >= said["validation"]["before"]["accuracy"] - 0.005
        assert "test" not in metrics
        assert f"Version 1 as {kind}: accuracy " in (model / str(version) / "card.md").read_text()
    types = {each.op_type for each in onnx.load(model / "2/model.onnx").graph.node}
    assert "QuantizeLinear" in types
    kinds = {each.data_type for each in onnx.load(model / "3/model.onnx").graph.initializer}
    assert onnx.TensorProto.FLOAT16 in kinds
    assert latest_version(place / "models", NAME) == model / "1"  # the one that can be trained again
    check_answers(place / "models")


def check_answers(models):
    golden = [Golden.read(models / NAME / str(version)) for version in (1, 2, 3)]
    [rows] = golden[0].inputs.values()
    service = Service(models)
    try:
        for path, expected in (("", golden[0]), ("/labels/int8", golden[1]), ("/labels/float16", golden[2])):
            reply = service.client.post(f"/v1/models/{NAME}{path}:predict", json={"instances": rows[:8].tolist()})
            assert reply.status_code == 200, reply.text
            [outputs] = expected.outputs.values()
            np.testing.assert_allclose(reply.json()["predictions"], outputs[:8], atol=1e-4)
    finally:
        assert service.stop() == 0


def test_a_form_that_loses_too_much_is_not_published(place, monkeypatch):
    def ruin(source, target, batches):
        graph = onnx.load(source)
        for each in graph.graph.initializer:
            if each.data_type == onnx.TensorProto.FLOAT:
                each.CopyFrom(onnx.numpy_helper.from_array(0 * onnx.numpy_helper.to_array(each), each.name))
        onnx.save(graph, target)

    monkeypatch.setattr("training.quantizing.quantize.write_int8", ruin)
    before = sorted((place / "models").rglob("*"))
    done = quantize(place, "--to", "int8")
    assert done.code == 2
    assert "as int8 the accuracy on 40 validation rows goes from 1.0000 to 0." in done.err
    assert "worse by more than 0.005; nothing was published: more --calibration-rows may help" in done.err
    assert sorted((place / "models").rglob("*")) == before


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--label", "stable"], "--label stable: this label decides which version answers by default; choose another"),
        (["--label", "canary"], "--label canary: this label decides which version answers by default; choose another"),
        (["--from-version", "7"], "tiny-images has no version 7 under models; the newest is 1"),
        (["--models-dir", "elsewhere"], "no version of tiny-images is published under elsewhere; train one first"),
    ],
)
def test_mistakes_are_one_sentence(place, options, sentence):
    done = quantize(place, "--to", "int8", *options)
    assert done.code == 2
    assert sentence in done.err
    assert len(done.err.splitlines()) == 1


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{", "models/tiny-images/serving.json cannot be read: Expecting"),
        ("[]", "models/tiny-images/serving.json: the document and its version_labels must be objects"),
        ('{"version_labels": 1}', "the document and its version_labels must be objects; correct it first"),
    ],
)
def test_a_broken_serving_json_is_refused_before_the_work(place, text, sentence):
    path = place / "models" / NAME / "serving.json"
    path.write_text(text)
    done = quantize(place, "--to", "int8")
    assert (done.code, sentence in done.err) == (2, True), done.err
    assert path.read_text() == text


def test_other_settings_of_the_model_stay(place):
    (place / "models" / NAME / "serving.json").write_text('{"batching": {"max_batch_size": 4}}')
    assert quantize(place, "--to", "float16", "--label", "half").code == 0
    document = json.loads((place / "models" / NAME / "serving.json").read_text())
    assert document == {"batching": {"max_batch_size": 4}, "version_labels": {"stable": 1, "half": 2}}


def test_an_imported_version_and_a_quantised_one_are_refused(place):
    assert quantize(place, "--to", "float16").code == 0
    done = quantize(place, "--to", "int8", "--from-version", "2")
    assert (done.code, done.out) == (2, "")
    assert "models/tiny-images/2 was not trained here; only versions of `training run` are quantised" in done.err


def test_sets_of_labels_are_refused():
    [version] = (ROOT / "models/fashion-mnist-cnn").glob("[0-9]*")
    request = Request(
        recipe=SimpleNamespace(task=MultiLabel()),
        version=version,
        kind="float16",
        calibration_rows=1,
        margin=0.0,
        synthetic=False,
        command="",
    )
    with pytest.raises(SettingRefused, match="sets of labels; only versions of one class or of numbers are quantised"):
        check_kind(request, ModelSpec.read(version))


def test_text_models_are_refused():
    [version] = (ROOT / "models/imdb-sentiment-lstm").glob("[0-9]*")
    request = Request(
        recipe=load_recipe("imdb-sentiment-lstm"),
        version=version,
        kind="int8",
        calibration_rows=1,
        margin=0.0,
        synthetic=False,
        command="",
    )
    with pytest.raises(SettingRefused, match="one input and one output without texts; only such versions are quant"):
        check_kind(request, ModelSpec.read(version))
