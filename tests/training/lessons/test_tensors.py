import numpy as np
import pytest

from training.lessons.tensors import RECIPE, Tensors, add, broadcast, dot
from training.recipe.lesson import LessonContext


def test_all_shapes_sums_and_products_are_as_expected_with_any_seed(tmp_path, console):
    for study in (RECIPE.study, Tensors(seed=7)):
        found = study(LessonContext(directory=tmp_path, console=console))
        assert found.missed == ()
        assert {type(figure.holds) for figure in found.figures} == {bool}
    values = {figure.name: figure.value for figure in found.figures}
    assert [values[name] for name in values if name.endswith(": axes")] == [0, 1, 2, 3, 4, 5]
    assert values["(4, 3) + (4,)"] == "refused"


@pytest.mark.parametrize(
    ("left", "right"), [((4, 3), (3,)), ((4, 1), (3,)), ((), (2, 2)), ((2, 1, 3), (5, 1)), ((2, 1), (2, 1))]
)
def test_broadcasting_by_the_rule_is_that_of_numpy(left, right):
    one, other = np.random.default_rng(0).normal(size=left), np.random.default_rng(1).normal(size=right)
    assert broadcast(one, other) == np.broadcast_shapes(left, right)
    np.testing.assert_array_equal(add(one, other), one + other)


@pytest.mark.parametrize(("left", "right"), [((4, 3), (4,)), ((2, 3), (3, 3))])
def test_shapes_that_do_not_fit_are_refused_with_both_shapes(left, right):
    with pytest.raises(ValueError, match=r"shapes \(\d, 3\) and .* do not broadcast: \d and \d differ"):
        broadcast(np.zeros(left), np.zeros(right))


def test_a_dot_product_number_by_number():
    assert dot(np.array([[1.0, 2.0], [0.0, 3.0]]), np.array([[10.0, 5.0], [1.0, 7.0]])).tolist() == [[12, 19], [3, 21]]
    with pytest.raises(ValueError, match=r"\(2, 2\) and \(3, 1\) needs equal inner sizes"):
        dot(np.zeros((2, 2)), np.zeros((3, 1)))
