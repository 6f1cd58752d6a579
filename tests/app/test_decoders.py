"""Nothing but a ServingError leaves a decoder, and what it returns is what the signature says: for every decoder."""

import json
import logging
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.edge.grpc import inference_pb2 as pb
from benchmarks.fuzzing.mutations import EVIL, mutate
from benchmarks.fuzzing.run import quiet_libraries
from benchmarks.fuzzing.targets import PromiseBroken, Target, make_targets

NAMES = (
    "json",
    "json text",
    "v1 predict, image",
    "v1 predict, text",
    "v1 predict, numbers",
    "v1 classify, regress",
    "v2 json",
    "v2 binary",
    "generate",
    "media",
    "image body",
    "image",
    "tokenizer",
    "inflate",
    "heads",
    "paths",
    "grpc",
    "golden",
    "manifest",
    "model.json",
)
JSON = ("json", "json text", "generate", "v1 predict, image", "v1 predict, text", "manifest", "model.json")
# The same inputs in every run.
SETTINGS = settings(
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
# All names that one of the decoders knows, and some that none does.
KEYS = st.sampled_from(
    [
        *(
            "instances",
            "inputs",
            "examples",
            "context",
            "signature_name",
            "b64",
            "text",
            "image",
            "pixels",
            "x",
            "count",
        ),
        *("outputs", "id", "parameters", "name", "datatype", "shape", "data", "text_input", "stop", "seed", "top_k"),
        *("files", "size", "sha256", "", "\0", "x\0", "☃"),
    ]
)
LEAVES = st.one_of(
    st.sampled_from([text.decode() for text in EVIL]),
    st.integers(-(2**70), 2**70).map(str),
    st.floats().map(json.dumps),
    st.text(max_size=5).map(json.dumps),
)
# Texts of documents, so that an object may hold a key twice and a string half of a character.
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4).map(lambda items: f"[{','.join(items)}]"),
        st.lists(st.tuples(KEYS, inner), max_size=4).map(
            lambda members: "{" + ",".join(f"{json.dumps(key)}:{value}" for key, value in members) + "}"
        ),
    ),
    max_leaves=12,
)


@pytest.fixture(scope="module")
def targets(tmp_path_factory):
    logging.disable()
    with quiet_libraries():
        yield {target.name: target for target in make_targets(tmp_path_factory.mktemp("decoders"))}
    logging.disable(logging.NOTSET)


def test_every_decoder_is_named_here(targets):
    assert tuple(targets) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_valid_input_is_read(targets, name):
    assert targets[name].seeds
    assert {targets[name].outcome(seed) for seed in targets[name].seeds} >= {"ok"}


@pytest.mark.parametrize("name", NAMES)
@given(st.integers(0, 2**32), st.data())
@SETTINGS
def test_damaged_input_is_refused_or_obeys_the_signature(targets, name, seed, data):
    seeds = targets[name].seeds
    random = Random(seed)
    targets[name].outcome(mutate(data.draw(st.sampled_from(seeds)), random, random.choice(seeds)))


@pytest.mark.parametrize("name", JSON)
@given(st.lists(st.tuples(KEYS, VALUES), max_size=4))
@SETTINGS
def test_any_document_is_refused_or_obeys_the_signature(targets, name, members):
    document = "{" + ",".join(f"{json.dumps(key)}:{value}" for key, value in members) + "}"
    targets[name].outcome(document.encode("utf-8", "surrogatepass"))


@pytest.mark.parametrize("name", ["v1 predict, numbers", "v1 classify, regress", "v2 json"])
@given(st.integers(0, 3), st.lists(st.tuples(KEYS, VALUES), max_size=4))
@SETTINGS
def test_any_document_for_any_model_is_refused_or_obeys_the_signature(targets, name, model, members):
    document = "{" + ",".join(f"{json.dumps(key)}:{value}" for key, value in members) + "}"
    targets[name].outcome(bytes([model]) + document.encode("utf-8", "surrogatepass"))


@pytest.mark.parametrize("name", NAMES)
@given(st.binary(max_size=200))
@SETTINGS
def test_any_bytes_are_refused_or_obey_the_signature(targets, name, data):
    targets[name].outcome(data)


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


@given(st.data(), st.integers(0, 3))
@SETTINGS
def test_any_grpc_message_is_refused_or_obeys_the_signature(targets, data, model):
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
    targets["grpc"].outcome(bytes([model]) + request.SerializeToString())


def test_an_error_that_is_none_of_ours_is_seen():
    def decode(data):
        return {}[data]

    with pytest.raises(KeyError):
        Target("broken", [b""], decode).outcome(b"x")


def test_a_tensor_that_disobeys_is_seen(targets, monkeypatch):
    monkeypatch.setattr("benchmarks.fuzzing.targets.conform", lambda inputs, spec: inputs)
    with pytest.raises(PromiseBroken, match="pixels became int64"):
        targets["v1 predict, image"].outcome(targets["v1 predict, image"].seeds[0])
