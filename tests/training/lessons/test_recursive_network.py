import numpy as np
import pytest

from training.lessons.recursive_network import (
    NAMES,
    Logic,
    Weights,
    answer,
    draw_tree,
    gradient_of,
    initial_weights,
    tape_apart,
    text,
    truth,
)
from training.recipe.lesson import LessonContext

AND, OR, XOR = range(3)
TREE = (OR, (AND, True, False), (XOR, True, False))


def test_expressions_are_read_along_their_trees_and_deeper_than_learnt(tmp_path, console):
    found = Logic(expressions=200, asked=50, epochs=30)(LessonContext(directory=tmp_path, console=console))
    values = {figure.name: figure.value for figure in found.figures}
    assert values["1 levels: right"] == 1
    assert values["3 levels: right"] > values["3 levels: right by counting"] + 0.1
    assert values["4 levels: right"] > values["4 levels: right by counting"] + 0.1
    [picture] = found.pictures.values()
    assert picture.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")


def test_the_truth_and_the_text_of_an_expression():
    assert NAMES == ("and", "or", "xor")
    assert text(TREE) == "((1 and 0) or (1 xor 0))"
    assert truth(TREE) is True
    assert truth((AND, TREE, (XOR, TREE, True))) is False


@pytest.mark.parametrize("depth", [0, 1, 4])
def test_a_drawn_expression_has_the_depth_that_was_asked_for(depth):
    def levels(tree):
        return 0 if isinstance(tree, bool) else 1 + max(map(levels, tree[1:]))

    rng = np.random.default_rng(0)
    trees = [draw_tree(rng, depth) for _ in range(50)]
    assert {levels(tree) for tree in trees} == {depth}
    assert {truth(tree) for tree in trees} == {True, False}


def test_the_gradient_along_the_tree_is_the_slope_of_the_cross_entropy():
    weights = initial_weights(3, np.random.default_rng(2))
    gradient = gradient_of(weights, TREE)
    for name, value in vars(weights).items():
        nudge = np.zeros_like(value)
        nudge.flat[-1] = 1e-6
        up, down = (
            -np.log(answer(Weights(**{**vars(weights), name: moved}), TREE)) for moved in (value + nudge, value - nudge)
        )
        assert (up - down) / 2e-6 == pytest.approx(vars(gradient)[name].flat[-1], abs=1e-8)
    assert tape_apart(weights, TREE) < 1e-12


def test_too_little_learning_is_a_reported_miss(tmp_path, console):
    found = Logic(expressions=20, asked=20, epochs=1)(LessonContext(directory=tmp_path, console=console))
    assert "3 levels, right" in {figure.name for figure in found.missed}
