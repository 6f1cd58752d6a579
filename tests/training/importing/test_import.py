"""Every kind of model becomes a version whose formats give the answers of the model itself."""

import json
import re

import numpy as np
import onnx
import onnxruntime
import pytest

from app.contract.golden import Golden
from app.contract.manifest import verify_manifest
from app.contract.model_spec import ModelSpec
from app.contract.version_files import VersionFiles
from app.lifecycle.loading.version_contract import read_contract
from tests.support.saved_models import write_graphs_by_tags

COLOURS = "red\ngreen\nblue\n"


@pytest.fixture
def imported(command, saved, tmp_path):
    """Imports a model and returns the version directory and what was printed."""

    def run(file, *arguments, name="mine", code=0):
        ended = command("import", str(saved / file), "--name", name, *arguments)
        assert ended.code == code, ended.out + ended.err
        made = [line.split(": ", 1)[1] for line in ended.out.splitlines() if line.startswith(("made: ", "published: "))]
        if made:
            verify_manifest(tmp_path / made[0])
            read_contract(VersionFiles(tmp_path / made[0], place=tmp_path), name)
        return (tmp_path / made[0] if made else None), ended

    return run


def labels(tmp_path, text=COLOURS):
    (tmp_path / "labels.txt").write_text(text)
    return "labels.txt"


def formats(version):
    return {name for name in ("saved_model.pb", "model.onnx") if (version / name).exists()}


def by_onnx(version, inputs):
    session = onnxruntime.InferenceSession(version / "model.onnx", providers=["CPUExecutionProvider"])
    return dict(zip([each.name for each in session.get_outputs()], session.run(None, inputs), strict=True))


def test_a_keras_3_model_has_both_formats_and_the_answers_of_keras(imported, saved, tmp_path):
    version, ended = imported("image.keras")
    assert version == tmp_path / "runs/imported/mine/1"
    assert "try it: python -m app serve --models-dir runs/imported" in ended.out
    assert "with --publish" in ended.out
    assert not (tmp_path / "models").exists()
    assert formats(version) == {"saved_model.pb", "model.onnx"}
    golden, spec = Golden.read(version), ModelSpec.read(version)
    assert [each.in_words for each in spec.inputs] == ["'grey' (float32 of shape (8, 8, 1))"]
    assert spec.frameworks["keras"].startswith("3.")
    import keras

    expected = keras.models.load_model(saved / "image.keras").predict(golden.inputs["grey"], verbose=0)
    np.testing.assert_allclose(golden.outputs["scores"], expected, atol=1e-6)
    np.testing.assert_allclose(by_onnx(version, golden.inputs)["scores"], expected, atol=1e-6)
    metrics = json.loads((version / "metrics.json").read_text())
    assert metrics["imported"]["file"] == "image.keras"
    assert set(metrics["export"]["parity"]) == {"SavedModel", "ONNX"}
    assert (version.parent / "config.pbtxt").exists()


def test_publish_adds_the_next_version_each_time(imported, tmp_path):
    first, _ = imported("image.keras", "--publish")
    second, _ = imported("old.keras", "--publish")
    assert (first, second) == (tmp_path / "models/mine/1", tmp_path / "models/mine/2")
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("file", ["old.keras", "old.h5"])
def test_a_model_of_tf_keras_has_both_formats(file, imported, saved):
    version, _ = imported(file)
    assert formats(version) == {"saved_model.pb", "model.onnx"}
    import tf_keras

    golden = Golden.read(version)
    expected = tf_keras.models.load_model(saved / file, compile=False).predict(golden.inputs["input"], verbose=0)
    np.testing.assert_allclose(golden.outputs["dense"], expected, atol=1e-6)


def test_several_inputs_and_outputs_keep_their_names(imported, tmp_path):
    version, ended = imported("two.keras", "--labels", labels(tmp_path, "no\nyes\n"))
    spec = ModelSpec.read(version)
    assert {each.name: each.shape for each in spec.inputs} == {"first_number": (4,), "second": (2, 3)}
    assert {each.name: each.shape for each in spec.outputs} == {"mean": (1,), "kind": (2,)}
    assert spec.postprocessing.output == "kind"
    assert formats(version) == {"saved_model.pb", "model.onnx"}
    assert "the golden samples show 2 of 2 classes" in ended.out


def test_strings_serve_by_the_saved_model_and_the_reason_names_operation_and_layer(imported, tmp_path):
    version, ended = imported("strings.keras", "--as", "text", "--labels", labels(tmp_path, "bad\ngood\n"))
    assert formats(version) == {"saved_model.pb"}
    assert "ONNX left out: no ONNX operation for StaticRegexReplace (" in ended.out
    assert "text_vectorization" in ended.out
    assert not (version.parent / "config.pbtxt").exists()
    spec = ModelSpec.read(version)
    assert (spec.inputs[0].dtype, spec.preprocessing) == ("string", None)
    assert all(isinstance(each, bytes) for each in Golden.read(version).inputs["text"].ravel())


def test_a_saved_model_is_copied_byte_for_byte(imported, saved):
    version, _ = imported("image")
    for part in ("saved_model.pb", "variables/variables.index"):
        assert (version / part).read_bytes() == (saved / "image" / part).read_bytes()
    assert formats(version) == {"saved_model.pb", "model.onnx"}


def test_a_saved_model_with_tables_is_imported_with_them(imported, saved, tmp_path):
    np.savez(tmp_path / "texts.npz", text=np.array([["good film"], ["a bad film"], [""]]))
    version, _ = imported("strings", "--samples", "texts.npz")
    assert formats(version) == {"saved_model.pb"}
    golden = Golden.read(version)
    assert golden.rows == 64
    assert golden.inputs["text"][:3, 0].tolist() == [b"good film", b"a bad film", b""]
    assert len(np.unique(golden.outputs["output_0"][:, 0])) == 3


def test_of_several_graphs_the_one_for_serving_is_imported(imported, tmp_path):
    write_graphs_by_tags(tmp_path / "tagged", [(["serve", "tpu"], 3.0), (["serve"], 2.0)])
    version, _ = imported(tmp_path / "tagged")
    golden = Golden.read(version)
    np.testing.assert_allclose(golden.outputs["y"], 2 * golden.inputs["x"], rtol=1e-6)


def test_a_signature_is_chosen_by_name(imported):
    version, _ = imported("two-signatures", "--signature", "double")
    golden = Golden.read(version)
    np.testing.assert_array_equal(golden.outputs["y"], 2 * golden.inputs["x"])
    _, ended = imported("two-signatures", code=2)
    assert "has no signature 'serving_default'; it has ['centred', 'double']; choose one with --signature" in ended.err


def test_a_model_whose_answers_depend_on_the_batch_runs_one_instance_at_a_time(imported):
    version, ended = imported("two-signatures", "--signature", "centred")
    assert ModelSpec.read(version).batching.max_batch_size == 1
    assert "note: instances run one at a time: the model in a batch of 2 differs from itself alone" in ended.out


def test_an_onnx_graph_is_copied_and_has_no_saved_model(imported, saved):
    version, ended = imported("channels.onnx")
    assert formats(version) == {"model.onnx"}
    assert (version / "model.onnx").read_bytes() == (saved / "channels.onnx").read_bytes()
    assert "SavedModel left out: there is no conversion from ONNX" in ended.out
    version, ended = imported("one.onnx", name="one")
    assert ModelSpec.read(version).batching.max_batch_size == 1
    assert "the graph fixes its first dimension at 1" in ended.out


@pytest.mark.parametrize(("file", "shape"), [("image.keras", (8, 8)), ("image", (8, 8)), ("channels.onnx", (8, 8, 3))])
def test_pixels_become_the_input_of_the_model(file, shape, imported, saved, tmp_path):
    scale = ("--mean", "10,20,30" if len(shape) == 3 else "10", "--std", "2")
    version, _ = imported(file, "--as", "image", *scale, "--labels", labels(tmp_path))
    spec, golden = ModelSpec.read(version), Golden.read(version)
    assert [(each.name, each.dtype, each.shape) for each in spec.inputs] == [("pixels", "uint8", shape)]
    assert [step.step for step in spec.preprocessing.steps] == (["resize", "grey"] if len(shape) == 2 else ["resize"])
    pixels = golden.inputs["pixels"].astype(np.float32)
    if file == "channels.onnx":
        assert formats(version) == {"model.onnx"}
        means = ((pixels - [10, 20, 30]) / 2).mean(axis=(1, 2)) + np.array([0.1, 0.2, 0.3])
        expected = np.exp(means - means.max(1, keepdims=True))
        expected /= expected.sum(1, keepdims=True)
    else:
        assert formats(version) == {"saved_model.pb", "model.onnx"}
        import keras

        model = keras.models.load_model(saved / "image.keras")
        expected = model.predict((pixels[..., None] - 10) / 2, verbose=0)
    [scores] = golden.outputs.values()
    np.testing.assert_allclose(scores, expected, atol=1e-5)


@pytest.mark.parametrize("file", ["old-lstm.keras", "new-lstm.keras"])
def test_a_text_becomes_token_ids_and_padding_does_not_change_an_answer(file, imported, tmp_path):
    (tmp_path / "words.txt").write_text("good\nbad\nfilm\n")
    text = ("--as", "text", "--vocabulary", "words.txt", "--max-length", "12", "--keep", "last")
    version, _ = imported(file, *text, "--labels", labels(tmp_path, "no\nyes\n"))
    spec, golden = ModelSpec.read(version), Golden.read(version)
    assert (spec.inputs[0].dtype, spec.inputs[0].shape, spec.inputs[0].maximum) == ("int32", (-1,), 4)
    assert (spec.preprocessing.max_length, spec.preprocessing.keep) == (12, "last")
    assert set(golden.lengths[spec.inputs[0].name]) == set(range(1, 13))
    assert (version / "vocabulary.txt").read_text() == "good\nbad\nfilm\n"
    assert formats(version) == {"saved_model.pb", "model.onnx"}
    lstm = next(node for node in onnx.load(version / "model.onnx").graph.node if node.op_type == "LSTM")
    assert lstm.input[4]  # the lengths


def test_recurrent_layers_of_keras_3_become_fused_operations(imported):
    version, _ = imported("states.keras")
    ops = {node.op_type for node in onnx.load(version / "model.onnx").graph.node}
    assert "GRU" in ops
    assert "Loop" not in ops
    golden = Golden.read(version)
    [outputs] = golden.outputs.values()
    [found] = by_onnx(version, golden.inputs).values()
    np.testing.assert_allclose(found, outputs, atol=1e-6)


def test_a_format_that_differs_more_than_the_tolerance_is_left_out(imported):
    version, ended = imported("half.keras", "--tolerance", "1e-7")
    assert formats(version) == {"saved_model.pb"}
    assert re.search(r"ONNX left out: ONNX in a batch of 1 differs from the model alone by \S+, but at most", ended.out)
    assert "; a larger --tolerance accepts more" in ended.out
    version, _ = imported("half.keras", "--tolerance", "0.01", name="wide")
    assert formats(version) == {"saved_model.pb", "model.onnx"}
    assert Golden.read(version).tolerance["CPUExecutionProvider"] >= 0.01


def test_an_h5_file_of_keras_3_is_read_by_keras_3(imported):
    version, _ = imported("image.h5")
    assert ModelSpec.read(version).frameworks["keras"].startswith("3.")
    assert formats(version) == {"saved_model.pb", "model.onnx"}


def test_a_text_model_that_counts_padding_is_refused_with_the_cure(imported, tmp_path):
    (tmp_path / "words.txt").write_text("good\nbad\nfilm\n")
    _, ended = imported("unmasked.keras", "--as", "text", "--vocabulary", "words.txt", code=2)
    assert "texts of different lengths cannot share a batch" in ended.err
    assert "(GlobalAveragePooling1D) reads the padded steps because no mask reaches it: set mask_zero=True" in ended.err


def test_a_model_that_remembers_earlier_rows_is_refused(imported):
    _, ended = imported("stateful.keras", code=2)
    assert "layer 'memory' (GRU) has stateful=True, so that an answer depends on earlier requests" in ended.err
    assert ended.err.endswith("set stateful=False, and save it again\n")


def test_a_lambda_layer_runs_when_it_is_allowed(imported):
    version, _ = imported("lambda.keras", "--allow-code")
    golden = Golden.read(version)
    [inputs], [outputs] = golden.inputs.values(), golden.outputs.values()
    np.testing.assert_array_equal(outputs, 2 * inputs)
    assert formats(version) == {"saved_model.pb", "model.onnx"}
