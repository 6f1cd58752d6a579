"""TensorProtos are read as TensorFlow itself reads them, and outputs are read back by TensorFlow."""

import numpy as np
import pytest

from app.contract.dtypes import NAMES, numpy_dtype
from app.contract.model_spec import ModelSpec
from app.contract.tensor_spec import TensorSpec
from app.edge.grpc.tfs import serving_pb2 as pb
from app.edge.grpc.tfs.tensors import ELEMENTS, Room, read_tensor, write_tensor
from app.errors import InvalidInput, TooLarge
from benchmarks.fuzzing.models import version_of
from tests.support.dtype_rows import ROWS
from tests.support.saved_models import tensorflow
from tests.support.tfs import shaped, tensor

ROOM_BYTES = 1_000


@pytest.fixture(scope="module")
def tf():
    return tensorflow()


def model_of(dtype, *, shape=(-1,)):
    spec = TensorSpec(name="x", dtype=dtype, shape=shape, finite=dtype not in {"float32", "float64", "float16"})
    return version_of(
        ModelSpec(
            name="m",
            inputs=(spec,),
            outputs=(TensorSpec(name="y", dtype=dtype, shape=shape),),
            opset=17,
            trained_on="nothing",
        )
    )


def read(proto, dtype, *, shape=(-1,), room_bytes=ROOM_BYTES):
    return read_tensor(proto, "x", model_of(dtype, shape=shape), Room(room_bytes))


def by_tensorflow(tf, proto, dtype):
    """The tensor as TensorFlow's Tensor::FromProto decodes it."""
    return tf.io.parse_tensor(proto.SerializeToString(), dtype).numpy()


def values_of(dtype):
    """Three values of a dtype as TensorProto sends them one by one."""
    if dtype == "string":
        return [b"a", b"", "Zürich".encode()]
    if dtype == "float16":
        return np.array([1, -2.5, 65504], np.float16).view(np.uint16).tolist()
    return np.array([0, 1, 100], numpy_dtype(dtype)).tolist()


@pytest.mark.parametrize("count", [0, 1, 3])
@pytest.mark.parametrize("dtype", ROWS)
def test_values_one_by_one_and_those_that_are_missing(tf, dtype, count):
    name = NAMES[dtype].tensorflow
    proto = shaped(name, (2, 3), **{ELEMENTS[name].field: values_of(dtype)[:count]})
    found = read(proto, dtype)
    want = by_tensorflow(tf, proto, getattr(tf, dtype))
    assert found.shape == want.shape == (2, 3)
    assert found.dtype == numpy_dtype(dtype)
    assert found.tolist() == want.tolist()


@pytest.mark.parametrize("dtype", ROWS)
def test_the_extremes_of_each_dtype_in_tensor_content(tf, dtype):
    values = ROWS[dtype]
    proto = tensor(values)
    if dtype == "string":
        elements = list(values.ravel())
        proto = shaped("DT_STRING", values.shape, tensor_content=bytes(map(len, elements)) + b"".join(elements))
    found = read(proto, dtype)
    assert found.tolist() == by_tensorflow(tf, proto, getattr(tf, dtype)).tolist() == values.tolist()


def test_long_strings_in_tensor_content(tf):
    elements = [b"x" * 127, b"y" * 128, b"z" * 70_000]
    content = b"\x7f\x80\x01\xf0\xa2\x04" + b"".join(elements)
    proto = shaped("DT_STRING", (3, 1), tensor_content=content)
    assert read(proto, "string").ravel().tolist() == elements
    assert by_tensorflow(tf, proto, tf.string).ravel().tolist() == elements


@pytest.mark.parametrize("content", [True, False])
def test_a_bfloat16_becomes_the_same_float32(tf, content):
    bits = np.array([0x0000, 0x8000, 0x3F80, 0xC2F7, 0x7F80, 0x0001], np.uint16)
    field = {"tensor_content": bits.tobytes()} if content else {"half_val": bits.tolist()}
    proto = shaped("DT_BFLOAT16", (1, 6), **field)
    want = by_tensorflow(tf, proto, tf.bfloat16).astype(np.float32)
    assert read(proto, "float32").tobytes() == want.tobytes()


@pytest.mark.parametrize("dtype", ROWS)
@pytest.mark.parametrize("shape", [(2, 2), (4,), (1, 4), (0, 2)])
def test_an_output_is_read_correctly_by_tensorflow(tf, dtype, shape):
    values = ROWS[dtype].reshape(shape) if 0 not in shape else ROWS[dtype][:0]
    proto = write_tensor(values, TensorSpec(name="y", dtype=dtype, shape=(-1,)))
    assert by_tensorflow(tf, proto, getattr(tf, dtype)).tolist() == values.tolist()
    found = tf.make_ndarray(type(tf.make_tensor_proto(0)).FromString(proto.SerializeToString()))
    assert found.shape == values.shape
    assert found.tolist() == values.tolist()


@pytest.mark.parametrize("content", [True, False])
def test_bits_of_bfloat16_are_kept_both_ways(tf, content):
    bits = np.arange(2**16).astype(np.uint16).reshape(256, 256)
    field = {"tensor_content": bits.tobytes()} if content else {"half_val": bits.ravel().tolist()}
    found = read(shaped("DT_BFLOAT16", bits.shape, **field), "bfloat16", room_bytes=0)
    assert found.dtype == np.float32
    proto = write_tensor(found, TensorSpec(name="y", dtype="bfloat16", shape=(-1,)))
    assert np.array_equal(by_tensorflow(tf, proto, tf.bfloat16).view(np.uint16), bits)


def test_an_output_without_dimensions(tf):
    proto = write_tensor(np.array(2.5, np.float32), TensorSpec(name="y", dtype="float32", shape=(), batched=False))
    assert proto.HasField("tensor_shape")
    assert by_tensorflow(tf, proto, tf.float32) == 2.5


def test_an_output_that_is_not_contiguous():
    values = np.arange(6, dtype=np.float16).reshape(2, 3).T
    proto = write_tensor(values, TensorSpec(name="y", dtype="float16", shape=(2,)))
    assert np.array(proto.half_val, np.uint16).view(np.float16).tolist() == [0, 3, 1, 4, 2, 5]
    proto = write_tensor(values.astype(np.float32), TensorSpec(name="y", dtype="float32", shape=(2,)))
    assert list(proto.float_val) == [0, 3, 1, 4, 2, 5]


def test_filled_in_elements_are_limited_to_the_size_of_all_tensors_of_the_request_together():
    room = Room(ROOM_BYTES)
    model = model_of("float32")
    proto = shaped("DT_FLOAT", (1, 125), float_val=[1])
    for _ in range(2):
        assert read_tensor(proto, "x", model, room).tolist() == [[1] * 125]
    with pytest.raises(
        TooLarge,
        match="input 'x' states few of its elements, and all of them take 500 bytes; at most 1000 bytes in a request",
    ):
        read_tensor(proto, "x", model, room)
    assert read_tensor(tensor(np.ones((1, 125), np.float32)), "x", model, room).shape == (1, 125)


def test_strings_that_are_filled_in_count_with_their_bytes():
    proto = shaped("DT_STRING", (1, 11), string_val=[bytes(100)])
    assert read(proto, "string").ravel().tolist() == [bytes(100)] * 11
    with pytest.raises(TooLarge, match="take 1100 bytes"):
        read(shaped("DT_STRING", (1, 12), string_val=[bytes(100)]), "string")


@pytest.mark.parametrize("dtype", ROWS)
def test_a_field_of_another_dtype_is_named(dtype):
    name = NAMES[dtype].tensorflow
    own = ELEMENTS[name].field
    for other in {element.field for element in ELEMENTS.values()} - {own}:
        proto = shaped(name, (1, 1), **{other: [b"a"] if other == "string_val" else [1]})
        with pytest.raises(InvalidInput, match=f"has {other}; send {own} or tensor_content"):
            read(proto, dtype)
    assert {element.field for element in ELEMENTS.values()} == {
        field.name for field in pb.TensorProto.DESCRIPTOR.fields if field.name.endswith("_val")
    }
