"""The largest batch of a version: a stated size is tested or refused, a hint is reduced to what is possible."""

import json
import time

import numpy as np
import pytest

from app.contract.extent import BATCH_LIMIT_BYTES
from app.contract.manifest import write_manifest
from app.contract.version_files import VersionFiles
from app.errors import VersionRefused
from app.lifecycle.loading.verification import Gate
from app.lifecycle.loading.version_contract import largest_batch, read_contract
from tests.support.tiny_models import write_brightness_model, write_words_model


def contract_of(version, **changes):
    path = version / "model.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    write_manifest(version)
    return read_contract(VersionFiles(version, place=version.parent), version.parent.name)


class Growing:
    """A backend with correct answers, and a process that grows by a number of bytes for each row of a batch."""

    provider = "CPUExecutionProvider"

    def __init__(self, contract, row_bytes):
        self.golden, self.row_bytes, self.largest, self.closed = contract.golden, row_bytes, 0, False

    def run(self, inputs):
        rows = len(inputs["pixels"])
        self.largest = max(self.largest, rows)
        samples = zip(self.golden.inputs["pixels"], self.golden.outputs["probabilities"], strict=True)
        expected = {bytes(pixels): scores for pixels, scores in samples}
        answers = [expected.get(bytes(pixels), np.array([0, 1], np.float32)) for pixels in inputs["pixels"]]
        return {"probabilities": np.stack(answers)}

    def resident(self):
        return 10**8 + self.row_bytes * self.largest

    def close(self):
        self.closed = True


def verify(contract, size, *, is_stated, row_bytes):
    backend = Growing(contract, row_bytes)
    gate = Gate(contract, max_batch_size=size, is_stated=is_stated, clock=time.perf_counter, resident=backend.resident)
    try:
        return gate.verify(backend, "cpu").curve.batch_sizes[-1], backend
    except VersionRefused as error:
        assert backend.closed
        return error.message, backend


@pytest.fixture
def contract(tmp_path):
    return contract_of(write_brightness_model(tmp_path), preprocessing=None)


def test_a_size_that_needs_too_much_memory_is_refused_before_it_is_tried(contract):
    message, backend = verify(contract, 4096, is_stated=True, row_bytes=2**20)
    assert "max_batch_size is 4096: by what batches of 1024 took, larger ones take 2048 MiB" in message
    assert backend.largest == 1024
    assert verify(contract, 1024, is_stated=True, row_bytes=2**20)[0] == 1024


def test_a_hint_ends_at_the_size_that_fits(contract):
    assert verify(contract, 4096, is_stated=False, row_bytes=2**20)[0] == 1024


def test_a_hint_of_any_size_is_reduced_and_a_size_in_serving_json_is_refused(tmp_path):
    contract = contract_of(write_brightness_model(tmp_path), batching={"max_batch_size": 200_000})
    assert largest_batch(contract, None) == 4096
    assert largest_batch(contract, 4096) == 4096
    texts = write_words_model(tmp_path)
    step = json.loads((texts / "model.json").read_text())["preprocessing"] | {"max_length": 2**20}
    contract = contract_of(texts, preprocessing=step)
    fits = BATCH_LIMIT_BYTES // (4 * 2**20 + 8)
    assert largest_batch(contract, None) == min(fits, contract.spec.batching.max_batch_size)
    with pytest.raises(VersionRefused, match=rf"is 4096, and .* 4194312 bytes; 67108864 bytes, a batch of {fits}, is"):
        largest_batch(contract, 4096)


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"inputs": [{"name": "pixels", "dtype": "float32", "shape": [4, 4]}]}, "'pixels' is uint8 of shape"),
        ({"inputs": [{"name": "pixels", "dtype": "uint8", "shape": [4, 5]}]}, "model.json says uint8 of shape"),
        ({"outputs": [{"name": "other", "dtype": "float32", "shape": [2]}]}, "its outputs are"),
    ],
)
def test_golden_samples_are_of_the_tensors_that_the_contract_states(tmp_path, change, rule):
    version = write_brightness_model(tmp_path)
    with pytest.raises(VersionRefused, match=rule):
        contract_of(version, preprocessing=None, postprocessing=None, **change)
