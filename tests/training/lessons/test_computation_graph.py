import pytest

from training.lessons.computation_graph import RECIPE, Differentiate, Node, add, gradients, graph, multiply
from training.recipe.lesson import LessonContext


def test_the_worked_values_and_gradients(tmp_path, console):
    found = RECIPE.study(LessonContext(directory=tmp_path, console=console))
    assert found.missed == ()
    assert {figure.name: figure.value for figure in found.figures} == pytest.approx(
        {
            "d = b + c": 3,
            "e = c + 2": 3,
            "a = d e": 9,
            "∂a/∂d": 3,
            "∂a/∂e": 3,
            "∂a/∂b": 3,
            "∂a/∂c": 6,
            "∂a/∂b, by GradientTape": 3,
            "∂a/∂c, by GradientTape": 6,
            "∂a/∂b, difference": 0,
            "∂a/∂c, difference": 0,
        },
        abs=1e-8,
    )
    [picture] = found.pictures.values()
    assert picture.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")


@pytest.mark.parametrize(("b", "c"), [(-7.5, 0.25), (1e6, -2.0), (0.0, 0.0)])
def test_at_other_numbers_they_agree_too(b, c, tmp_path, console):
    assert Differentiate(b=b, c=c)(LessonContext(directory=tmp_path, console=console)).missed == ()
    slopes = gradients(graph(b, c))
    assert (slopes["b"], slopes["c"]) == (c + 2, b + 2 * c + 2)


def test_a_node_that_is_used_twice_by_one_operation_gets_both_gradients():
    x = Node(name="x", value=5.0)
    square = multiply("square", x, x)
    assert gradients((x, square, add("sum", square, x))) == {"x": 11.0, "square": 1.0, "sum": 1.0}
