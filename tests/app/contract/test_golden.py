"""Invalid golden.npz files are refused."""

import json
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest

from app.contract.golden import Golden, RawSample
from app.errors import VersionRefused
from tests.support.tiny_models import write_rule_model, write_words_model

ROWS = np.arange(64, dtype=np.int32)


def test_golden_samples_survive_the_disk_and_rows_lose_their_padding(version, tmp_path):
    assert Golden.read(version).row(2)["pixels"].shape == (1, 4, 4)
    golden = Golden.read(write_words_model(tmp_path))
    assert golden.rows == 64
    assert golden.row(2)["token_ids"].shape == (1, 3)
    assert golden.raw == (RawSample(name="good.txt", data=b"A good film!", label="positive"),)
    assert golden.tolerance_for("AnyProvider") == 1e-5


def test_equal_golden_samples_give_equal_bytes(tmp_path):
    golden = Golden.read(write_words_model(tmp_path))
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    replace(golden, tolerance={"default": 1e-5, "CPUExecutionProvider": 0.0}).write(tmp_path / "a")
    replace(golden, tolerance={"CPUExecutionProvider": 0.0, "default": 1e-5}).write(tmp_path / "b")
    assert (tmp_path / "a" / "golden.npz").read_bytes() == (tmp_path / "b" / "golden.npz").read_bytes()


def rewrite(version, **changes):
    replace(Golden.read(version), **changes).write(version)


def test_a_name_may_contain_the_colon_that_ends_its_kind(version):
    rewrite(version, inputs={"pixels:0:1": ROWS})
    assert Golden.read(version).inputs["pixels:0:1"].tolist() == ROWS.tolist()


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"inputs": {"x": ROWS[:63]}, "outputs": {"y": ROWS[:63]}}, "equally many rows, at least 64"),
        ({"inputs": {"x": np.repeat(ROWS, 2)}}, "equally many rows"),
        ({"inputs": {"x": np.int32(1)}}, "equally many rows"),
        ({"inputs": {}}, "expected inputs and outputs"),
        ({"outputs": {}}, "expected inputs and outputs"),
        ({"inputs": {"x": np.zeros((64, 0), np.float32)}}, "'x' holds nothing"),
        ({"tolerance": {"CPUExecutionProvider": 0.0}}, "no default tolerance"),
    ],
)
def test_golden_samples_that_cannot_be_replayed_are_refused(version, change, rule):
    rewrite(version, **change)
    with pytest.raises(VersionRefused, match=rf"golden\.npz: .*{rule}"):
        Golden.read(version)


@pytest.mark.parametrize(
    ("name", "lengths", "rule"),
    [
        ("missing", ROWS, "not whole numbers, one for each row of an input"),
        ("index", ROWS, "not whole numbers, one for each row of an input"),
        ("ids", ROWS[:, np.newaxis], "not whole numbers, one for each row of an input"),
        ("ids", ROWS.astype(np.float32), "not whole numbers, one for each row of an input"),
        ("ids", np.full(64, 0), "not between 1 and 5"),
        ("ids", np.full(64, 6), "not between 1 and 5"),
    ],
)
def test_lengths_that_no_row_can_have_are_refused(version, name, lengths, rule):
    rewrite(version, inputs={"ids": np.ones((64, 5), np.int32), "index": ROWS}, lengths={name: lengths})
    with pytest.raises(VersionRefused, match=f"the lengths of '{name}' are {rule}"):
        Golden.read(version)


def test_a_golden_file_that_is_missing_is_named(version):
    (version / "golden.npz").unlink()
    with pytest.raises(VersionRefused, match=r"golden\.npz: No such file"):
        Golden.read(version)


def test_a_pickle_in_a_golden_file_is_neither_written_nor_opened(version):
    pickled = np.array([print], dtype=object)
    with pytest.raises(ValueError, match="Object arrays cannot be saved"):
        rewrite(version, inputs={"pixels": pickled})
    np.savez(version / "golden.npz", **{"input:pixels": pickled})
    with pytest.raises(VersionRefused, match=r"golden\.npz: not a golden file"):
        Golden.read(version)


@pytest.mark.parametrize("tolerance", [0.02, float("inf"), float("nan"), -1e-9])
def test_a_golden_file_alone_does_not_decide_which_outputs_are_compared_exactly(version, tolerance):
    rewrite(version, outputs={"y": ROWS / 64}, tolerance={"default": 1e-5, "CPUExecutionProvider": tolerance})
    with pytest.raises(VersionRefused, match=r"states a tolerance of .* for 'CPUExecutionProvider'; 0 to 0\.01 is"):
        Golden.read(version)


@pytest.mark.parametrize("tolerance", [0.0, 0.01])
def test_each_provider_has_its_own_tolerance(version, tolerance):
    rewrite(version, outputs={"y": ROWS / 64}, tolerance={"default": 1e-5, "CPUExecutionProvider": tolerance})
    golden = Golden.read(version)
    assert golden.tolerance_for("CPUExecutionProvider") == tolerance
    assert golden.tolerance_for("CUDAExecutionProvider") == 1e-5


def test_larger_answers_may_differ_by_more(tmp_path):
    version = write_rule_model(tmp_path)
    golden = Golden.read(version)
    outputs = {name: values * np.float32(1000) for name, values in golden.outputs.items()}
    rewrite(version, outputs=outputs, tolerance={"default": 1.0})
    assert Golden.read(version).tolerance_for("any") == 1.0


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_golden_output_that_is_not_a_number_is_refused(version, value):
    outputs = Golden.read(version).outputs["probabilities"].copy()
    outputs[17, 1] = value
    rewrite(version, outputs={"probabilities": outputs})
    with pytest.raises(VersionRefused, match="the expected output 'probabilities' holds NaN or infinity"):
        Golden.read(version)


def test_the_most_rows_and_raw_samples_are_accepted(version):
    raw = tuple(RawSample(name=f"{i}.txt", data=b"x", label="dark") for i in range(64))
    rewrite(version, inputs={"x": np.repeat(ROWS, 64)}, outputs={"y": np.repeat(ROWS, 64)}, raw=raw)
    golden = Golden.read(version)
    assert (golden.rows, golden.raw) == (4096, raw)


def test_too_many_golden_rows_are_refused(version):
    golden = Golden.read(version)
    inputs = {name: np.repeat(values, 65, axis=0) for name, values in golden.inputs.items()}
    outputs = {name: np.repeat(values, 65, axis=0) for name, values in golden.outputs.items()}
    rewrite(version, inputs=inputs, outputs=outputs)
    with pytest.raises(VersionRefused, match="it has 4160 rows; at most 4096 are replayed"):
        Golden.read(version)


def test_too_many_raw_samples_are_refused(version):
    rewrite(version, raw=tuple(RawSample(name=f"{i}.txt", data=b"x", label="dark") for i in range(65)))
    with pytest.raises(VersionRefused, match="it has 65 raw samples; at most 64 are sent"):
        Golden.read(version)


def test_each_output_has_a_tolerance_in_proportion_to_its_answers_and_whole_numbers_none():
    """A price next to a probability must not widen the tolerance of the probability."""
    outputs = {
        "price": np.full((64, 1), 1e5, np.float32),
        "probability": np.full((64, 1), 0.5, np.float32),
        "label": np.full((64,), 7, np.int64),
    }
    golden = Golden(inputs={"x": ROWS}, outputs=outputs, tolerance={"default": 1.0})
    assert golden.tolerances("any") == {"price": 1.0, "probability": pytest.approx(1e-5), "label": 0.0}


def strings_in_a_file(version, count):
    """golden.npz with so many strings, all empty: the file has the length of each, and inflates from almost nothing."""
    lengths = np.zeros((64, count // 64), np.uint32)
    arrays = {"input:x": lengths, "strings:input:x": np.zeros(0, np.uint8), "output:y": ROWS}
    meta = json.dumps({"tolerance": {"default": 1e-5}, "raw": []}).encode()
    np.savez_compressed(version / "golden.npz", meta=np.frombuffer(meta, np.uint8), **arrays)


def test_more_strings_than_are_read_are_refused_before_they_are_made(version):
    strings_in_a_file(version, 2**24)
    tracemalloc.start()
    try:
        with pytest.raises(VersionRefused, match=r"golden\.npz: .*it has 16777216 strings; at most 1048576 are read"):
            Golden.read(version)
        assert tracemalloc.get_traced_memory()[1] < 2**28
    finally:
        tracemalloc.stop()
    strings_in_a_file(version, 2**12)
    assert Golden.read(version).inputs["x"].shape == (64, 64)


def test_samples_that_could_not_be_read_again_are_not_written():
    values = np.full((64, 2**15), b"", object)
    golden = Golden(inputs={"x": values}, outputs={"y": ROWS}, tolerance={"default": 1e-5})
    with pytest.raises(ValueError, match="it has 2097152 strings; at most 1048576 are read"):
        golden.check()


def test_a_document_that_is_too_large_is_refused_before_it_is_parsed(version):
    meta = np.full(2**24, ord("["), np.uint8)
    np.savez_compressed(version / "golden.npz", meta=meta, **{"input:x": ROWS, "output:y": ROWS})
    with pytest.raises(VersionRefused, match=r"golden\.npz: .*meta has 16777216 bytes; at most 1048576 are read"):
        Golden.read(version)
