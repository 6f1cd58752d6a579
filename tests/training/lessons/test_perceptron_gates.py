from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from app.contract.model_spec import ModelSpec
from training.errors import SettingRefused
from training.export.model_export import OPSET, export_onnx, onnx_runner
from training.lessons.perceptron_gates import GATES, RECIPE, ROWS, Gates, learn
from training.overrides import apply_overrides
from training.recipe.lesson import LessonContext

PNG = b"\x89PNG\r\n\x1a\n"
ZERO = (Fraction(0), Fraction(0), Fraction(0))
TRUTH = [  # of AND, OR, NAND, NOR, XOR, XNOR
    [0, 0, 1, 1, 0, 1],
    [0, 1, 1, 0, 1, 0],
    [0, 1, 1, 0, 1, 0],
    [1, 1, 0, 0, 0, 1],
]
BITS = np.uint8([[0, 0], [0, 1], [1, 0], [1, 1]])


def taught(gate, *, rate=Fraction(1), start=ZERO, bias=True, longest=1000):
    return learn(GATES[gate], start=start, rate=rate, bias=bias, longest=longest)


def study(tmp_path, console, **settings):
    return Gates(**settings)(LessonContext(directory=tmp_path, console=console))


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    from rich.console import Console

    return RECIPE.study(LessonContext(directory=tmp_path_factory.mktemp("gates"), console=Console(quiet=True)))


def test_four_gates_are_learnt_by_one_layer_and_all_six_with_two(found):
    assert found.missed == ()
    assert {type(figure.holds) for figure in found.figures} == {bool, type(None)}
    values = {figure.name: figure.value for figure in found.figures}
    for gate in ("AND", "OR", "NAND", "NOR"):
        assert values[f"{gate}, one layer: verdict"] == "learnt"
        assert values[f"{gate}, one layer: rows right"] == 4
    for gate in ("XOR", "XNOR"):
        assert values[f"{gate}, one layer: verdict"] == "cannot be learnt"
        assert values[f"{gate}, one layer: rows right"] < 4
        assert values[f"{gate}, hidden layer: rows right"] == 4
        assert values[f"{gate}, hidden layer: largest error of an answer"] < 0.05
    assert [note.split(":")[0] for note in found.notes] == [
        "XOR cannot be learnt with one layer",
        "XNOR cannot be learnt with one layer",
    ]
    [picture] = found.pictures.values()
    assert picture.read_bytes().startswith(PNG)


def test_the_served_model_answers_all_six_gates_in_keras_and_in_onnx(found, tmp_path):
    servable = found.servable
    assert (servable.model.input_names, servable.model.output_names) == (["bits"], ["gates"])
    assert servable.model(BITS).numpy().tolist() == TRUTH
    spec = ModelSpec(
        name=RECIPE.name, inputs=servable.inputs, outputs=servable.outputs, opset=OPSET, trained_on="truth tables"
    )
    export_onnx(servable.model, spec, tmp_path / "model.onnx")
    run = onnx_runner(tmp_path / "model.onnx", spec)
    gates = run({"bits": BITS})["gates"]
    assert gates.dtype == np.float32
    assert gates.tolist() == TRUTH
    assert run({"bits": BITS[2:3]})["gates"].tolist() == TRUTH[2:3]


def test_the_rule_by_hand_for_or():
    """From zero: (0,1) requires 1 and gets 0; then (0,0) requires 0 and gets 1; etc.: four updates to x1 + x2 > 0."""
    perceptron = taught("OR")
    assert perceptron.weights == (1, 1, 0)
    assert (perceptron.updates, perceptron.epochs) == (4, 4)


@pytest.mark.parametrize("rate", ["1", "1/10", "7/3", "1e-9"])
@pytest.mark.parametrize("gate", GATES)
def test_from_zero_the_learning_rate_scales_the_weights_and_changes_nothing_else(gate, rate):
    one, other = taught(gate), taught(gate, rate=Fraction(rate))
    assert replace(other, weights=one.weights) == one
    assert other.weights == tuple(Fraction(rate) * weight for weight in one.weights)
    assert other.decide(np.array(ROWS)).tolist() == one.decide(np.array(ROWS)).tolist()


@pytest.mark.parametrize("gate", ["XOR", "XNOR"])
@pytest.mark.parametrize("start", [(0, 0, 0), (3, -5, 2), (Fraction(1, 3), Fraction(22, 7), -4)])
def test_the_proof_is_correct_the_learning_repeats_when_it_is_continued(gate, start):
    perceptron = taught(gate, start=tuple(map(Fraction, start)))
    assert perceptron.verdict == "cannot be learnt"
    length = perceptron.epochs + 1 - perceptron.returned_to
    assert length >= 1
    again = taught(gate, start=perceptron.weights)
    assert (again.verdict, again.weights, again.epochs) == ("cannot be learnt", perceptron.weights, length)


@pytest.mark.parametrize("start", [(0, 0, 0), (9, 9, 9), (-4, 3, Fraction(1, 2))])
@pytest.mark.parametrize("gate", ["AND", "OR", "NAND", "NOR"])
def test_a_gate_that_a_line_separates_is_never_called_impossible(gate, start):
    perceptron = taught(gate, start=tuple(map(Fraction, start)))
    assert perceptron.verdict == "learnt"
    assert perceptron.decide(np.array(ROWS)).tolist() == list(GATES[gate])


def test_no_line_separates_xor():
    """Every sign pattern that a line can give to the four corners is met by small whole weights."""
    small = np.stack(np.meshgrid(*[np.arange(-3, 4)] * 3), axis=-1).reshape(-1, 3)
    patterns = {tuple(row) for row in (small[:, :2] @ np.array(ROWS).T + small[:, 2:] > 0).astype(int).tolist()}
    assert len(patterns) == 14
    assert set(GATES.values()) - patterns == {GATES["XOR"], GATES["XNOR"]}


def test_too_few_epochs_prove_nothing():
    assert taught("XOR", longest=2).verdict == "undecided"
    assert taught("AND", longest=2).verdict == "undecided"


def test_without_a_bias_or_alone_is_learnt_and_the_others_are_reported(tmp_path, console):
    assert [gate for gate in GATES if taught(gate, bias=False).verdict == "learnt"] == ["OR"]
    found = study(tmp_path, console, bias=False, network_epochs=40)
    assert {figure.name for figure in found.missed} == {
        *(f"{gate}, one layer: {what}" for gate in ("AND", "NAND", "NOR") for what in ("verdict", "rows right")),
        "answers right of the model with all six gates",
    }


def test_too_little_learning_and_too_few_epochs_are_reported(tmp_path, console):
    found = study(tmp_path, console, network_epochs=1, longest=2)
    missed = {figure.name: figure.value for figure in found.missed}
    assert missed["XOR, one layer: verdict"] == "undecided"
    assert missed["XOR, hidden layer: rows right"] < 4
    assert missed["answers right of the model with all six gates"] < 24
    assert found.notes[0] == "XOR: with one layer undecided after 2 epochs."


def test_a_tenth_is_a_tenth(tmp_path, console):
    recipe = apply_overrides(RECIPE, ["study.learning_rate=0.1", "study.network_epochs=40"])
    found = recipe.study(LessonContext(directory=tmp_path, console=console))
    assert found.missed == ()
    assert "w1 = -1/10, w2 = 0, b = 1/10" in found.notes[0]


@pytest.mark.parametrize(
    "setting",
    [
        "learning_rate=0",
        "learning_rate=-1",
        "learning_rate=nan",
        "learning_rate=1e308",
        "longest=0",
        "initial_bias=inf",
    ],
)
def test_settings_that_would_prove_a_false_statement_are_refused(setting):
    with pytest.raises(SettingRefused, match=r"must be (above 0|at least 1|finite)|expected a finite number"):
        apply_overrides(RECIPE, [f"study.{setting}"])
