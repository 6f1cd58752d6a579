"""Rows that model_warmup makes: as many as fit into the samples of a version."""

import tracemalloc

import numpy as np
import pytest

from app.contract.extent import BATCH_LIMIT_BYTES
from app.contract.strings import held_bytes, length_prefixed
from app.errors import VersionRefused
from app.repository.triton.config_file import read_config
from app.repository.triton.warmup import ROWS, warmup_rows


def rows(tmp_path, *samples):
    """The rows of samples, each with these inputs: name -> (type, dims, values)."""
    text = ""
    for sample in samples:
        inputs = "".join(
            f'inputs {{ key: "{name}" value {{ data_type: TYPE_{kind} dims: {list(dims)} {values} }} }} '
            for name, (kind, dims, values) in sample.items()
        )
        text += f'model_warmup {{ name: "w" {inputs} }} '
    (tmp_path / "config.pbtxt").write_text(text)
    tracemalloc.start()
    try:
        return warmup_rows(read_config(tmp_path), tmp_path), tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def from_file(name):
    return f'input_data_file: "{name}"'


def strings_file(tmp_path, name, strings):
    (tmp_path / "warmup").mkdir(exist_ok=True)
    (tmp_path / "warmup" / name).write_bytes(length_prefixed(strings))


@pytest.mark.parametrize("values", ["zero_data: true", "random_data: true"])
@pytest.mark.parametrize("kind", ["INT8", "BOOL", "FP16", "STRING"])
def test_small_samples_make_eight_rows(tmp_path, kind, values):
    found, _ = rows(tmp_path, {"x": (kind, [3, 2], values)})
    assert found["x"].shape == (ROWS, 3, 2)
    is_zero = {str(each) for each in found["x"].ravel()} <= {"0", "0.0", "False", "b''"}
    assert is_zero == values.startswith("zero")


def test_the_larger_a_sample_the_fewer_rows_are_made(tmp_path):
    found, peak_bytes = rows(tmp_path, {f"x{at}": ("INT8", [2**22], "random_data: true") for at in range(5)})
    assert [values.shape for values in found.values()] == [(3, 2**22)] * 5
    assert peak_bytes < 3 * BATCH_LIMIT_BYTES  # the rows, and one after the other in their arrays; no 8-byte numbers


def test_a_sample_that_has_more_bytes_than_a_batch_is_refused(tmp_path):
    with pytest.raises(VersionRefused, match="model_warmup 'w' has 134217728 bytes; samples have at most 67108864 byt"):
        rows(tmp_path, {f"x{at}": ("INT8", [2**26], "random_data: true") for at in range(2)})


@pytest.mark.parametrize("values", ["zero_data: true", "random_data: true"])
def test_a_sample_has_no_more_strings_than_a_request(tmp_path, values):
    found, _ = rows(tmp_path, {"x": ("STRING", [2**16], values), "y": ("STRING", [2**15], values)})
    assert {name: each.shape for name, each in found.items()} == {"x": (2, 2**16), "y": (2, 2**15)}
    with pytest.raises(VersionRefused, match=r"bytes and 262145 strings; samples have at most .* and 262144 strings"):
        rows(tmp_path, {"x": ("STRING", [2**18 + 1], values)})


def test_strings_of_files_count_with_their_content(tmp_path):
    strings_file(tmp_path, "long", [b"x" * 2**23] * 3)
    strings_file(tmp_path, "short", [b"y"] * 3)
    found, _ = rows(tmp_path, {"x": ("STRING", [3], from_file("long"))}, {"x": ("STRING", [3], from_file("short"))})
    assert [len(row[0]) for row in found["x"]] == [2**23, 1, 2**23, 1]
    assert held_bytes(found["x"]) <= BATCH_LIMIT_BYTES
    strings_file(tmp_path, "half", [b"x" * 2**25])
    with pytest.raises(VersionRefused, match=r"has 671\d+ bytes and 2 strings; samples have at most"):
        rows(tmp_path, {name: ("STRING", [1], from_file("half")) for name in "xy"})


def test_numbers_of_files_are_read(tmp_path):
    (tmp_path / "warmup").mkdir()
    (tmp_path / "warmup" / "x").write_bytes(np.arange(6, dtype="<i4").tobytes())
    found, _ = rows(tmp_path, {"x": ("INT32", [2, 3], from_file("x"))})
    assert found["x"].tolist() == [[[0, 1, 2], [3, 4, 5]]] * ROWS
