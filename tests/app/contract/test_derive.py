"""The contract that is derived from a graph alone."""

import pytest

from app.contract.derive import derive, without_batch
from app.contract.dtypes import NAMES
from app.contract.graph_facts import GraphFacts, TensorFacts
from app.errors import VersionRefused


def facts(*inputs, outputs=(("y", "float32", (None, 3)),)):
    return GraphFacts(tuple(TensorFacts(*each) for each in inputs), tuple(TensorFacts(*each) for each in outputs))


def test_the_first_dimension_is_the_batch_and_others_that_vary_stay_open():
    spec, alone = derive("m", facts(("x", "float32", (None, 3, None)), ("ids", "int64", (None,))))
    assert (spec.batched, alone) == (True, "")
    assert [(tensor.name, tensor.dtype, tensor.shape) for tensor in spec.inputs] == [
        ("x", "float32", (3, -1)),
        ("ids", "int64", ()),
    ]
    assert spec.outputs[0].shape == (3,)
    assert spec.batching.max_batch_size > 1


def test_numbers_may_be_nan_because_no_setting_forbids_it():
    assert not derive("m", facts(("x", "float32", (None,))))[0].inputs[0].finite


def test_a_batch_of_exactly_one_runs_instances_one_at_a_time():
    given = facts(("x", "float32", (1, 3)), outputs=[("y", "float32", (1,))])
    spec, alone = derive("m", given)
    assert (spec.batched, spec.inputs[0].shape, spec.batching.max_batch_size) == (True, (3,), 1)
    assert alone == "the graph fixes its first dimension at 1"


@pytest.mark.parametrize(
    ("shapes", "output"),
    [
        ([()], (None,)),
        ([(4, None)], (None,)),
        ([(None, 2), (2, None, 128), ()], (None, 1)),
        ([(None, 2), (1, 2)], (None,)),
        ([(None,)], ()),
        ([(None,)], (3,)),
    ],
)
def test_without_a_first_dimension_that_all_tensors_share_there_is_no_batch_dimension(shapes, output):
    inputs = [(f"x{index}", "float32", shape) for index, shape in enumerate(shapes)]
    spec, alone = derive("m", facts(*inputs, outputs=[("y", "float32", output)]))
    assert not spec.batched
    assert alone == "its tensors do not share a first dimension that varies"
    assert [tensor.batch_shape for tensor in spec.inputs] == [
        tuple(-1 if size is None else size for size in shape) for shape in shapes
    ]


def test_a_first_dimension_that_is_not_a_batch_becomes_a_variable_dimension():
    spec = without_batch(derive("m", facts(("x", "float32", (None, 3))))[0])
    assert not spec.batched
    assert [tensor.shape for tensor in (*spec.inputs, *spec.outputs)] == [(-1, 3), (-1, 3)]


def test_whether_there_is_a_batch_is_not_written_to_model_json():
    assert "batched" not in derive("m", facts(("x", "float32", ())))[0].model_dump_json()


@pytest.mark.parametrize("dtype", NAMES)
def test_every_element_type_is_known(dtype):
    assert derive("m", facts(("x", dtype, (None,))))[0].inputs[0].dtype == dtype


@pytest.mark.parametrize(
    ("given", "error"),
    [
        (
            facts(("x", "tensor(complex64)", (None,))),
            r"input 'x' is a tensor\(complex64\); tensors of bool, uint8, .*, string are served",
        ),
        (
            facts(("x", "float32", (None,)), outputs=[("p", "seq(map(int64,tensor(float)))", (None,))]),
            "output 'p' is a seq.* export a scikit-learn classifier with options={'zipmap': False}",
        ),
        (facts(("x", "complex64", (None,))), "input 'x' is a complex64; tensors of bool"),
        (
            facts(("x", "float32", None)),
            "tensor 'x' has an unknown number of dimensions; export the model with a shape",
        ),
        (facts(("x", "float32", (None, 2**30))), r"input 'x' has the shape \(1073741824,\): .* 67108864"),
        (facts(), "the graph has 0 inputs; 1 to 64 are served"),
        (facts(*((f"x{index}", "float32", (None,)) for index in range(65))), "the graph has 65 inputs; 1 to 64"),
    ],
)
def test_a_graph_that_cannot_be_served_is_refused_with_the_tensor(given, error):
    with pytest.raises(VersionRefused, match=error):
        derive("m", given)


@pytest.mark.parametrize("name", ["modèle", "a@b", ".m", "n" * 256, "a\n"])
def test_a_name_that_no_model_can_have_is_refused_with_the_rule(name):
    with pytest.raises(VersionRefused, match=r"no model can be called .*: a name has ASCII letters, digits"):
        derive(name, facts(("x", "float32", (None,))))


def optional(name, shape):
    return TensorFacts(name, "float32", shape, optional=True)


def test_an_optional_input_does_not_decide_whether_there_is_a_batch():
    facts = GraphFacts(
        (optional("alpha", ()), TensorFacts("x", "float32", (None, 2))), (TensorFacts("y", "bool", (None,)),)
    )
    spec, alone = derive("m", facts)
    assert [(each.name, each.batch_shape, each.optional) for each in spec.inputs] == [
        ("x", (-1, 2), False),
        ("alpha", (), True),
    ]
    assert (alone, spec.batched, spec.whole) == ("", True, {"alpha"})
    whole = without_batch(spec)
    assert [each.batch_shape for each in whole.inputs] == [(-1, 2), ()]
    assert (whole.batched, whole.whole) == (False, set())


def test_an_optional_input_that_cannot_be_served_keeps_its_default(caplog):
    huge = optional("huge", (2**30,))
    facts = GraphFacts((TensorFacts("x", "float32", (None, 2)), huge), (TensorFacts("y", "bool", (None,)),))
    spec, _ = derive("m", facts)
    assert [each.name for each in spec.inputs] == ["x"]
    assert "model m: an optional input is not offered: " in caplog.text


def test_if_every_input_has_a_default_a_request_gives_all_of_them():
    spec, _ = derive("m", GraphFacts((optional("x", (None, 2)),), (TensorFacts("y", "bool", (None,)),)))
    assert (spec.required, spec.batched) == (spec.inputs, True)
