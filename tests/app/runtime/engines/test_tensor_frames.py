"""Names, dtypes, shapes and bytes arrive as sent."""

import socket
import threading

import numpy as np
import pytest

from app.runtime.engines.tensor_frames import receive_frame, send_frame


@pytest.fixture
def ends():
    one, other = socket.socketpair()
    with one, other:
        yield one, other


def over_the_wire(ends, header, tensors):
    """A frame that may be larger than the buffer of the socket."""
    sender = threading.Thread(target=send_frame, args=(ends[0], header, tensors))
    sender.start()
    received = receive_frame(ends[1])
    sender.join()
    return received


@pytest.mark.parametrize("dtype", ["uint8", "int32", "float32"])
@pytest.mark.parametrize("shape", [(1,), (2, 3), (7, 28, 28), (0, 5), (3, 0), (), (1000, 1001)])
def test_every_shape_and_dtype_arrives_as_it_was(ends, dtype, shape):
    values = np.random.default_rng(0).integers(0, 200, shape).astype(dtype)
    header, tensors = over_the_wire(ends, {"key": ["value", 1]}, {"x": values})
    assert header == {"key": ["value", 1]}
    [(name, arrived)] = tensors.items()
    assert (name, arrived.dtype, arrived.shape) == ("x", values.dtype, values.shape)
    np.testing.assert_array_equal(arrived, values)


def test_several_tensors_keep_their_order_and_are_aligned(ends):
    sent = {"b": np.arange(5, dtype=np.uint8), "a": np.arange(6, dtype=np.float32), "c": np.ones((2, 2), np.int32)}
    _, tensors = over_the_wire(ends, {}, sent)
    assert list(tensors) == ["b", "a", "c"]
    starts = [values.__array_interface__["data"][0] for values in tensors.values()]
    assert {start - starts[0] for start in starts} == {0, 64, 128}
    for name, values in sent.items():
        np.testing.assert_array_equal(tensors[name], values)
        assert tensors[name].flags.c_contiguous
        assert tensors[name].flags.writeable


def test_rows_that_are_not_contiguous_arrive_in_their_order(ends):
    grid = np.arange(24, dtype=np.int32).reshape(4, 6)
    _, tensors = over_the_wire(ends, {}, {"every other": grid[::2, ::3], "turned": grid.T})
    np.testing.assert_array_equal(tensors["every other"], grid[::2, ::3])
    np.testing.assert_array_equal(tensors["turned"], grid.T)


def test_frames_do_not_run_into_one_another(ends):
    for number in range(3):
        send_frame(ends[0], {"number": number}, {"x": np.full(number, number, np.uint8)})
    for number in range(3):
        header, tensors = receive_frame(ends[1])
        assert header == {"number": number}
        assert tensors["x"].tolist() == [number] * number


def test_a_closed_peer_is_reported(ends):
    ends[0].send(b"half a pre")
    ends[0].close()
    with pytest.raises(EOFError, match="closed"):
        receive_frame(ends[1])
