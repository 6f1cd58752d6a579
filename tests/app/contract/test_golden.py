"""golden.npz refuses what it cannot mean."""

from dataclasses import replace

import numpy as np
import pytest

from app.contract.golden import Golden, RawSample
from app.errors import VersionRefused
from tests.support.tiny_models import write_rule_model, write_words_model


def test_golden_samples_survive_the_disk_and_rows_lose_their_padding(tmp_path):
    golden = Golden.read(write_words_model(tmp_path))
    assert golden.rows == 64
    assert golden.row(2)["token_ids"].shape == (1, 3)
    assert golden.raw == (RawSample(name="good.txt", data=b"A good film!", label="positive"),)
    assert golden.tolerance_for("AnyProvider") == 1e-5


def test_equal_golden_samples_give_equal_bytes(tmp_path):
    golden = Golden.read(write_words_model(tmp_path))
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    golden.write(tmp_path / "a")
    golden.write(tmp_path / "b")
    assert (tmp_path / "a" / "golden.npz").read_bytes() == (tmp_path / "b" / "golden.npz").read_bytes()


def test_too_few_golden_rows_are_refused(version):
    golden = Golden.read(version)
    few = Golden(
        inputs={name: values[:63] for name, values in golden.inputs.items()},
        outputs={name: values[:63] for name, values in golden.outputs.items()},
        tolerance=golden.tolerance,
    )
    few.write(version)
    with pytest.raises(VersionRefused, match="at least 64"):
        Golden.read(version)


def test_a_pickle_in_a_golden_file_is_never_opened(version):
    np.savez(version / "golden.npz", **{"input:pixels": np.array([print], dtype=object)})
    with pytest.raises(VersionRefused, match="not a golden file"):
        Golden.read(version)


def rewrite(version, **changes):
    replace(Golden.read(version), **changes).write(version)


@pytest.mark.parametrize("tolerance", [0.02, float("inf"), float("nan"), -1e-9])
def test_a_golden_file_does_not_say_by_itself_what_is_exact(version, tolerance):
    rewrite(version, tolerance={"default": 1e-5, "CPUExecutionProvider": tolerance})
    with pytest.raises(VersionRefused, match=r"states a tolerance of .* for 'CPUExecutionProvider'; 0 to 0\.01 is"):
        Golden.read(version)


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
