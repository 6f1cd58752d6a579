"""The script of ``test_decoder.py``, in a separate process: Triton's client registers the names of our messages."""

from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.edge.grpc import inference_pb2 as pb
from benchmarks.fuzzing.mutations import mutate
from benchmarks.fuzzing.targets import make_targets

SETTINGS = settings(derandomize=True, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])
NAMES_OF_TENSORS = st.sampled_from(["pixels", "token_ids", "x", "count", "y", "probabilities", "", "\0"])
NUMBERS = st.lists(st.sampled_from([0, 1, 4, 255, 256, 2**31 - 1]), max_size=17)
CONTENTS = st.fixed_dictionaries(
    {},
    optional={
        "int_contents": st.lists(st.integers(-(2**31), 2**31 - 1), max_size=4),
        "uint_contents": NUMBERS,
        "int64_contents": st.lists(st.integers(-(2**63), 2**63 - 1), max_size=4),
        "fp32_contents": st.lists(st.floats(width=32), max_size=4),
        "bool_contents": st.lists(st.booleans(), max_size=2),
        "bytes_contents": st.lists(st.binary(max_size=5), max_size=2),
    },
)
PARAMETERS = st.dictionaries(
    st.sampled_from(["priority", "timeout", "classification", "triton_x", "\0", ""]),
    st.one_of(
        st.just({}),
        st.integers(-(2**63), 2**63 - 1).map(lambda value: {"int64_param": value}),
        st.integers(0, 2**64 - 1).map(lambda value: {"uint64_param": value}),
        st.booleans().map(lambda value: {"bool_param": value}),
        st.floats().map(lambda value: {"double_param": value}),
        st.text(max_size=3).map(lambda value: {"string_param": value}),
    ),
    max_size=3,
)
SIZES = st.lists(st.one_of(st.integers(0, 4), st.sampled_from([-1, 2**62, 2**63 - 1])), max_size=4)


@pytest.fixture(scope="module")
def target(tmp_path_factory):
    return next(each for each in make_targets(tmp_path_factory.mktemp("decoders")) if each.name == "grpc")


def test_valid_messages_are_read(target):
    assert {target.outcome(seed) for seed in target.seeds} == {"ok"}


@given(st.integers(0, 2**32), st.data())
@SETTINGS
def test_damaged_messages_are_refused_or_obey_the_signature(target, seed, data):
    random = Random(seed)
    target.outcome(mutate(data.draw(st.sampled_from(target.seeds)), random, random.choice(target.seeds)))


@given(st.data(), st.integers(0, 3))
@SETTINGS
def test_any_message_is_refused_or_obeys_the_signature(target, data, model):
    request = pb.ModelInferRequest(id=data.draw(st.text(max_size=2)))
    for _ in range(data.draw(st.integers(0, 2))):
        tensor = request.inputs.add(
            name=data.draw(NAMES_OF_TENSORS),
            datatype=data.draw(st.sampled_from(["UINT8", "INT32", "INT8", "FP32", "FP16", "BYTES", "BOOL", "", "X"])),
            shape=data.draw(SIZES),
        )
        if data.draw(st.booleans()):
            tensor.contents.MergeFrom(pb.InferTensorContents(**data.draw(CONTENTS)))
    request.raw_input_contents.extend(data.draw(st.lists(st.binary(max_size=17), max_size=2)))
    for name, value in data.draw(PARAMETERS).items():
        request.parameters[name].MergeFrom(pb.InferParameter(**value))
    for _ in range(data.draw(st.integers(0, 2))):
        output = request.outputs.add(name=data.draw(NAMES_OF_TENSORS))
        for name, value in data.draw(PARAMETERS).items():
            output.parameters[name].MergeFrom(pb.InferParameter(**value))
    target.outcome(bytes([model]) + request.SerializeToString())
