"""Invalid files, and options that do not match: one sentence each, and no file is written."""

import json
import os
import zipfile

import h5py
import numpy as np
import onnx
import pytest

from tests.support.saved_by_others import write_onnx


@pytest.fixture
def refused(command, saved, tmp_path):
    """Imports a file that must be refused, and returns the sentence."""

    def run(file, *arguments, name="mine"):
        path = file if hasattr(file, "exists") else saved / file
        ended = command("import", str(path), "--name", name, *arguments)
        assert ended.code == 2, ended.out
        assert ended.err.count("\n") == 1
        for place in ("runs/imported", "models"):
            assert not list((tmp_path / place).glob("*"))
        return ended.err

    return run


@pytest.mark.parametrize("file", ["lambda.keras", "lambda.h5"])
def test_code_in_a_file_is_refused_and_the_layer_named(file, refused):
    message = refused(file)
    assert "layer 'twice' is Python code in the file (Lambda)" in message
    assert "--allow-code runs it, with all rights that you have" in message


def with_config(source, target, change):
    """A .keras file with a changed config.json."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            data = old.read(name)
            if name == "config.json":
                config = json.loads(data)
                change(config)
                data = json.dumps(config).encode()
            new.writestr(name, data)
    return target


@pytest.mark.parametrize("source", ["image.keras", "old.keras"])
@pytest.mark.parametrize(
    ("module", "function", "sentence"),
    [
        ("os", "system", "requires os.system, which is not in Keras"),
        ("builtins", "exec", "requires builtins.exec, which is not in Keras"),
        ("keras.utils", "get_file", "calls keras.utils.get_file"),
    ],
)
def test_a_function_beyond_tensors_is_not_imported(source, module, function, sentence, saved, refused, tmp_path):
    def change(config):
        dense = config["config"]["layers"][-1]["config"]
        dense["activation"] = {"module": module, "class_name": "function", "config": function}

    assert sentence in refused(with_config(saved / source, tmp_path / "changed.keras", change))


def test_a_layer_of_tensorflow_that_writes_files_is_refused(saved, refused, tmp_path):
    def change(config):
        config["config"]["layers"].append(
            {"class_name": "TFOpLambda", "module": "keras.layers", "config": {"name": "w", "function": "io.write_file"}}
        )

    message = refused(with_config(saved / "old.keras", tmp_path / "changed.keras", change))
    assert "layer 'w' calls tf.io.write_file" in message


def test_a_layer_that_keras_does_not_know_is_named(saved, refused, tmp_path):
    def change(config):
        config["config"]["layers"][-1]["class_name"] = "Denser"

    message = refused(with_config(saved / "image.keras", tmp_path / "changed.keras", change))
    assert "cannot read it (saved by 3." in message
    assert "Denser" in message


def test_a_saved_model_that_reads_files_is_refused_before_it_is_loaded(refused):
    message = refused("reads")
    assert "the operation ReadFile (" in message
    assert "reads or writes files, or calls Python" in message


def test_weights_alone_are_not_a_model(refused):
    message = refused("weights.h5")
    assert "is an HDF5 file with weights alone: it has no model_config; save the whole model" in message


def test_an_hdf5_file_of_something_else_is_not_a_model(refused, tmp_path):
    with h5py.File(tmp_path / "data.h5", "w") as file:
        file["numbers"] = np.arange(3)
    assert "is an HDF5 file with no model of Keras" in refused(tmp_path / "data.h5")


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("a.h5", b"no model", "is not an HDF5 file"),
        ("a.keras", b"no model", "is not a zip archive"),
        ("a.keras", b"PK\x03\x04 cut off", "is damaged: File is not a zip file"),
        ("a.h5", b"\x89HDF\r\n\x1a\n cut off", "is damaged: Unable to"),
        ("a.onnx", b"no model", "is not an ONNX file"),
        ("a.txt", b"no model", "expected a .keras or .h5 file, a SavedModel directory, or an .onnx file"),
        ("a.keras", b"", "is empty"),
    ],
)
def test_a_file_that_is_not_a_model(name, content, sentence, refused, tmp_path):
    (tmp_path / name).write_bytes(content)
    assert sentence in refused(tmp_path / name)


def test_a_zip_archive_of_something_else_is_not_a_model(refused, tmp_path):
    with zipfile.ZipFile(tmp_path / "a.keras", "w") as archive:
        archive.writestr("readme", "hello")
    assert "is a zip archive without config.json and metadata.json of Keras" in refused(tmp_path / "a.keras")


def test_a_file_that_does_not_exist(refused, tmp_path):
    assert "No such file or directory" in refused(tmp_path / "missing.keras")


def test_a_directory_without_a_saved_model(refused, tmp_path):
    (tmp_path / "empty").mkdir()
    assert "is not a SavedModel: it has no saved_model.pb" in refused(tmp_path / "empty")


def test_a_damaged_saved_model_and_one_without_its_variables(saved, refused, tmp_path):
    damaged = tmp_path / "damaged"
    damaged.mkdir()
    (damaged / "saved_model.pb").write_bytes(b"\xff" * 20)
    assert "saved_model.pb is damaged" in refused(damaged)
    (damaged / "saved_model.pb").write_bytes((saved / "image/saved_model.pb").read_bytes())
    assert "TensorFlow cannot load it" in refused(damaged)


@pytest.mark.parametrize(("name", "gibibytes"), [("a.keras", 9), ("a.onnx", 2)])
def test_a_file_that_is_too_large_is_not_read(name, gibibytes, refused, tmp_path):
    with (tmp_path / name).open("wb") as file:
        file.truncate(gibibytes * 2**30)  # takes no space on the disk
    message = refused(tmp_path / name)
    assert f"has {gibibytes * 2**30} bytes; at most" in message


def test_an_archive_that_unpacks_to_too_much_is_not_unpacked(refused, tmp_path):
    with zipfile.ZipFile(tmp_path / "a.keras", "w") as archive:
        archive.writestr("config.json", "{}")
    data = bytearray((tmp_path / "a.keras").read_bytes())
    at = data.rindex(b"PK\x01\x02") + 24  # size of the content, in the directory of the archive; APPNOTE.TXT 4.3.12
    data[at : at + 4] = (2**32 - 2).to_bytes(4, "little")
    entry = data[data.rindex(b"PK\x01\x02") : data.rindex(b"PK\x05\x06")]
    end = bytearray(data[data.rindex(b"PK\x05\x06") :])
    data = data[: data.rindex(b"PK\x05\x06")] + entry * 2  # three members of 4 GiB
    end[8:12] = (3).to_bytes(2, "little") * 2
    end[12:16] = (3 * len(entry)).to_bytes(4, "little")
    (tmp_path / "a.keras").write_bytes(data + end)
    assert f"has {3 * (2**32 - 2)} bytes; at most" in refused(tmp_path / "a.keras")


def test_weights_of_an_onnx_graph_in_another_file(refused, tmp_path):
    write_onnx(tmp_path / "outside.onnx", shape=["n", 3, 8, 8], external=True)
    message = refused(tmp_path / "outside.onnx")
    assert "the weights 'bias' are in another file" in message
    assert "write one file with onnx.save(" in message


def test_an_onnx_operation_that_does_not_exist_is_named(saved, refused, tmp_path):
    model = onnx.load(saved / "channels.onnx")
    model.graph.node[1].op_type = "Frobnicate"
    onnx.save(model, tmp_path / "odd.onnx")
    message = refused(tmp_path / "odd.onnx")
    assert "ONNX Runtime cannot load the graph" in message
    assert "Frobnicate" in message


def test_a_graph_without_a_batch_dimension(refused, tmp_path):
    write_onnx(tmp_path / "four.onnx", shape=[4, 3, 8, 8])
    message = refused(tmp_path / "four.onnx")
    assert "a version requires a batch dimension first in every tensor" in message
    assert "can be served as a bare graph" in message


@pytest.mark.parametrize("name", ["../up", ".hidden", "a/b", "", "ä", "x" * 256, "a\nb"])
def test_a_name_that_breaks_the_rules_of_model_json(name, refused):
    assert "a name has ASCII letters, digits, spaces" in refused("image.keras", name=name)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a\nb\n", "--labels has 2 labels, and no output has 2 float32 scores: 'scores' (float32 of shape (3,))"),
        ("a\n\nb\n", "line 2 is empty; each line is one label"),
        ("a\n", "has 1 labels; 2 to 131072 are accepted"),
        ("", "has 0 labels"),
        (b"\xff\xfe", "codec can't decode"),
    ],
)
def test_labels_that_do_not_fit(text, sentence, refused, tmp_path):
    (tmp_path / "labels.txt").write_bytes(text if isinstance(text, bytes) else text.encode())
    assert sentence in refused("image.keras", "--labels", str(tmp_path / "labels.txt"))


def test_a_file_of_labels_that_does_not_exist(refused, tmp_path):
    assert "No such file" in refused("image.keras", "--labels", str(tmp_path / "missing.txt"))


@pytest.mark.parametrize(
    ("arrays", "sentence"),
    [
        ({"gray": np.zeros((2, 8, 8, 1), np.float32)}, "has the arrays ['gray']; the model requires ['grey']"),
        ({"grey": np.zeros((2, 8, 8), np.float32)}, "'grey' has rows of shape (8, 8); the model requires 'grey'"),
        ({"grey": np.zeros((2, 8, 8, 1), "S3")}, "'grey' is |S3; the model requires float32"),
        ({"grey": np.full((2, 8, 8, 1), np.nan)}, "'grey' contains NaN or infinity"),
        ({"grey": np.zeros((0, 8, 8, 1), np.float32)}, "has 0 rows; 1 to 4096 are accepted"),
        ({"grey": np.zeros((5000, 8, 8, 1), np.uint8)}, "has 5000 rows; 1 to 4096 are accepted"),
        ({"grey": np.zeros((2, 8, 8, 1), object)}, "holds object, and only numbers and strings"),
    ],
)
def test_samples_that_do_not_fit(arrays, sentence, refused, tmp_path):
    np.savez(tmp_path / "samples.npz", **arrays)
    assert sentence in refused("image.keras", "--samples", str(tmp_path / "samples.npz"))


def test_samples_of_different_length_and_of_numbers_where_strings_belong(refused, tmp_path):
    np.savez(tmp_path / "a.npz", **{"first_number": np.zeros((2, 4)), "second": np.zeros((3, 2, 3))})
    assert "different numbers of rows: {'first_number': 2, 'second': 3}" in refused(
        "two.keras", "--samples", str(tmp_path / "a.npz")
    )
    np.savez(tmp_path / "b.npz", text=np.zeros((2, 1)))
    assert "'text' is float64; the model requires strings" in refused(
        "strings.keras", "--samples", str(tmp_path / "b.npz")
    )


def test_samples_that_are_out_of_range_for_pixels(refused, tmp_path):
    np.savez(tmp_path / "a.npz", pixels=np.full((2, 8, 8), 300))
    message = refused("image.keras", "--as", "image", "--samples", str(tmp_path / "a.npz"))
    assert "'pixels' has values that do not fit uint8" in message


def test_samples_that_are_not_an_archive_or_do_not_exist(refused, tmp_path):
    (tmp_path / "a.npz").write_bytes(os.urandom(100))
    assert "does not end like a zip archive" in refused("image.keras", "--samples", str(tmp_path / "a.npz"))
    assert "No such file" in refused("image.keras", "--samples", str(tmp_path / "missing.npz"))


@pytest.mark.parametrize(
    ("file", "arguments", "sentence"),
    [
        ("image.keras", ("--size", "8x8"), "--size requires --as image; it is --as tensor"),
        ("image.keras", ("--vocabulary", "w.txt"), "--vocabulary requires --as text; it is --as tensor"),
        ("image.keras", ("--as", "text"), "--as text requires --vocabulary"),
        ("old.keras", ("--as", "image"), "--as image requires an input of shape (height, width)"),
        ("two.keras", ("--as", "image"), "--as image requires a model with one input"),
        ("strings.keras", ("--as", "image"), "--as image requires an input of numbers"),
        ("image.keras", ("--as", "image", "--size", "9x9"), "--size is 9x9, and the input is 'grey'"),
        ("image.keras", ("--as", "image", "--size", "big"), "--size is 'big'; expected WIDTHxHEIGHT"),
        ("image.keras", ("--as", "image", "--std", "0"), "--std contains 0"),
        ("image.keras", ("--as", "image", "--mean", "1,2"), "--mean is '1,2'; expected 1 or 1 numbers"),
        ("image.keras", ("--as", "image", "--mean", "dark"), "--mean is 'dark'; expected numbers"),
        ("image.keras", ("--as", "image", "--step", "blur"), "--step: unknown image step 'blur'; known are"),
        ("image.keras", ("--as", "image", "--step", "resize:width=8"), "--step: image steps: "),
        ("image.keras", ("--as", "image", "--step", "fit:size=9"), "--step: image steps end in 9x"),
        ("image.keras", ("--tolerance", "1"), "--tolerance is 1; it must be above 0 and at most 0.01"),
        ("image.keras", ("--signature", "a"), "--signature requires a SavedModel directory"),
        ("image", ("--signature", "a"), "has no signature 'a'; it has ['serve', 'serving_default']"),
    ],
)
def test_options_that_do_not_fit(file, arguments, sentence, refused):
    assert sentence in refused(file, *arguments)


def test_a_model_that_answers_at_random_leaves_nothing_behind(refused, tmp_path):
    write_onnx(tmp_path / "dice.onnx", shape=["n", 3, 8, 8])
    model = onnx.load(tmp_path / "dice.onnx")
    dice = onnx.helper.make_node("RandomUniformLike", ["means"], ["dice"])
    model.graph.node.insert(1, dice)
    model.graph.node[2].input[1] = "dice"
    onnx.save(model, tmp_path / "dice.onnx")
    message = refused(tmp_path / "dice.onnx")
    assert "no format could be made" in message
    assert "ONNX in a batch of 1 differs from the model alone by" in message


def test_a_vocabulary_that_is_empty(refused, tmp_path):
    (tmp_path / "words.txt").write_text("")
    message = refused("new-lstm.keras", "--as", "text", "--vocabulary", str(tmp_path / "words.txt"))
    assert "--vocabulary: " in message
    assert "one token a line and no empty line" in message
