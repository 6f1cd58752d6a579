"""Bound buffers change no bit. On the CPU provider, with which binding works the same way."""

from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper

from app.contract.golden import Golden
from app.contract.model_spec import ModelSpec
from app.contract.tensor_spec import TensorSpec
from app.errors import BackendFailed
from app.repository.places import Places
from app.repository.scan import scan
from app.runtime.engines.io_binding import BoundBackend, OrdinaryMemory
from app.runtime.engines.onnx import OnnxBackend
from app.runtime.warmup import batch_sizes_up_to
from tests.support.tiny_models import write_fragile_model, write_words_model

MODELS = Path(__file__).parents[4] / "models"
PUBLISHED = [(name, version) for name, versions in sorted(scan(Places(MODELS)).items()) for version in versions]


class CountedMemory(OrdinaryMemory):
    """Records the buffers that it allocates."""

    def __init__(self) -> None:
        self.given: list[int] = []
        self.closed = False

    def allocate(self, nbytes):
        self.given.append(nbytes)
        block = super().allocate(nbytes)
        block[:] = 0xAB  # like memory that was used before
        return block

    def close(self):
        self.closed = True


def open_both(directory, *, largest=8):
    spec = ModelSpec.read(directory)
    memory = CountedMemory()
    plain = OnnxBackend(directory / "model.onnx", spec, threads=1)
    bound = BoundBackend(
        OnnxBackend(directory / "model.onnx", spec, threads=1), spec, batch_sizes_up_to(largest), memory
    )
    return plain, bound, memory


def same_bits(one, other):
    assert one.keys() == other.keys()
    for name in one:
        assert one[name].dtype == other[name].dtype
        assert one[name].shape == other[name].shape
        assert one[name].tobytes() == other[name].tobytes()


@pytest.mark.parametrize(("name", "version"), PUBLISHED)
def test_a_published_model_gives_the_same_bits_with_and_without_binding(name, version):
    directory = MODELS / name / str(version)
    plain, bound, memory = open_both(directory)
    golden = Golden.read(directory).inputs
    allocated = len(memory.given)
    for start, rows in [(0, 1), (5, 3), (40, 8), (2, 5), (9, 2), (60, 1)]:
        batch = {key: np.ascontiguousarray(values[start : start + rows]) for key, values in golden.items()}
        same_bits(bound.run(batch), plain.run(batch))
    assert len(memory.given) == allocated, "buffers are allocated once"
    bound.close()
    assert memory.closed


def test_texts_of_any_length_up_to_the_longest_fit_and_a_longer_one_makes_its_buffer_grow(tmp_path):
    directory = write_words_model(tmp_path)
    plain, bound, memory = open_both(directory, largest=4)
    generator = np.random.default_rng(1)
    allocated = len(memory.given)
    for rows, length in [(4, 16), (3, 1), (1, 16), (4, 7), (2, 11)]:
        ids = generator.integers(0, 5, (rows, length)).astype(np.int32)
        same_bits(bound.run({"token_ids": ids}), plain.run({"token_ids": ids}))
    assert len(memory.given) == allocated
    longer = {"token_ids": generator.integers(0, 5, (4, 40)).astype(np.int32)}
    for _ in range(2):
        same_bits(bound.run(longer), plain.run(longer))
    assert len(memory.given) == allocated + 1


def test_an_answer_is_not_overwritten_by_the_next_batch():
    name, version = PUBLISHED[0]
    _, bound, _ = open_both(MODELS / name / str(version))
    golden = Golden.read(MODELS / name / str(version)).inputs
    first, second = ({key: values[i : i + 2] for key, values in golden.items()} for i in (0, 2))
    kept = bound.run(first)
    before = {key: values.copy() for key, values in kept.items()}
    bound.run(second)
    same_bits(kept, before)


def test_more_rows_than_any_buffer_has_run_without_one(tmp_path):
    directory = write_words_model(tmp_path)
    plain, bound, _ = open_both(directory, largest=2)
    ids = np.random.default_rng(2).integers(0, 5, (7, 3)).astype(np.int32)
    same_bits(bound.run({"token_ids": ids}), plain.run({"token_ids": ids}))


def test_an_output_whose_shape_the_input_decides_is_allocated_by_every_run(tmp_path):
    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        [
            helper.make_node("Cast", ["ids"], ["echo"], to=TensorProto.FLOAT),
            helper.make_node("ReduceMax", ["echo"], ["most"], axes=[1], keepdims=0),
        ],
        "echo",
        [info("ids", TensorProto.INT32, ["batch", "length"])],
        [
            info("echo", TensorProto.FLOAT, ["batch", "length"]),
            info("most", TensorProto.FLOAT, ["batch"]),
        ],
    )
    path = tmp_path / "model.onnx"
    path.write_bytes(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()
    )
    spec = ModelSpec(
        name="echo",
        inputs=(TensorSpec(name="ids", dtype="int32", shape=(-1,)),),
        outputs=(
            TensorSpec(name="echo", dtype="float32", shape=(-1,)),
            TensorSpec(name="most", dtype="float32", shape=()),
        ),
        opset=17,
        trained_on="nothing",
    )
    bound = BoundBackend(OnnxBackend(path, spec, threads=1), spec, (1, 2, 4), OrdinaryMemory())
    for rows, length in [(3, 5), (4, 2), (3, 9), (1, 1), (3, 5)]:
        ids = np.random.default_rng(rows * length).integers(0, 99, (rows, length)).astype(np.int32)
        outputs = bound.run({"ids": ids})
        assert list(outputs) == ["echo", "most"]
        assert outputs["echo"].tolist() == ids.tolist()
        assert outputs["most"].tolist() == ids.max(axis=1).tolist()


def test_a_failing_run_is_backend_failed_and_the_next_one_is_in_order(tmp_path):
    directory = write_fragile_model(tmp_path)
    plain, bound, _ = open_both(directory)
    with pytest.raises(BackendFailed, match="Gather"):
        bound.run({"index": np.array([99], np.int32)})
    good = {"index": np.array([0, 0, 0], np.int32)}
    same_bits(bound.run(good), plain.run(good))


def test_without_memory_for_the_buffers_no_buffer_is_left(tmp_path):
    directory = write_words_model(tmp_path)
    spec = ModelSpec.read(directory)
    memory = CountedMemory()
    memory.allocate = lambda nbytes: (_ for _ in ()).throw(BackendFailed("none left"))
    with pytest.raises(BackendFailed, match="none left"):
        BoundBackend(OnnxBackend(directory / "model.onnx", spec, threads=1), spec, (1,), memory)
    assert memory.closed
