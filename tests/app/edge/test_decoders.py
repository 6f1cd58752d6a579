"""Decoders raise only ServingError, and what they return matches the signature: all but gRPC's."""

import json
import logging
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

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
    "tfs predict",
    "tfs classify",
    "tfs regress",
    "tfs multi",
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
# Texts of documents, so that an object may contain a key twice and a string half of a character.
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
        yield {target.name: target for target in make_targets(tmp_path_factory.mktemp("decoders"), grpc=False)}
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


def test_an_unexpected_error_is_seen():
    def decode(data):
        return {}[data]

    with pytest.raises(KeyError):
        Target("broken", [b""], decode).outcome(b"x")


def test_a_tensor_that_disobeys_is_seen(targets, monkeypatch):
    monkeypatch.setattr("benchmarks.fuzzing.targets.conform", lambda inputs, spec: inputs)
    with pytest.raises(PromiseBroken, match="pixels became int64"):
        targets["v1 predict, image"].outcome(targets["v1 predict, image"].seeds[0])
