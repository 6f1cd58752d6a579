"""The computation graph of a = (b + c)(c + 2), and its gradients, by hand, by GradientTape and by differences.

    d = b + c    e = c + 2    a = d e        ∂a/∂b = e        ∂a/∂c = e + d

Reverse-mode differentiation visits the nodes backwards. Each node hands its gradient times the derivative of its own
operation to its inputs. c has two ways to a, and the gradients of both are added.

Command: python -m training run computation-graph
Result: b = 2, c = 1: d 3, e 3, a 9; gradients of a by b 3, by c 6, by hand and by GradientTape; 9 s
Date and hardware: 2026-11-30, two cores of an AMD EPYC
Source: Linnainmaa, Taylor expansion of the accumulated rounding error (1976).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from training.bounds import Bounded
from training.measure import drawing
from training.measure.findings import Findings, below, close
from training.recipe.lesson import Lesson, LessonContext

TWO = 2.0
DIFFERENCE_STEP = 1e-6
ROUNDING = 1e-12


@dataclass(frozen=True, kw_only=True, eq=False)
class Node:
    """A number of the graph.

    Attributes:
        name: for the picture and the figures.
        value: of the node.
        inputs: (node, derivative of this node by it), none for a node that is given.
    """

    name: str
    value: float
    inputs: tuple[tuple["Node", float], ...] = ()


def add(name: str, left: Node, right: Node) -> Node:
    """left + right: both derivatives are 1."""
    return Node(name=name, value=left.value + right.value, inputs=((left, 1.0), (right, 1.0)))


def multiply(name: str, left: Node, right: Node) -> Node:
    """left · right: the derivative by each is the other."""
    return Node(name=name, value=left.value * right.value, inputs=((left, right.value), (right, left.value)))


def graph(b: float, c: float) -> tuple[Node, ...]:
    """The nodes of a = (b + c)(c + 2): each after its inputs, a last."""
    at_b, at_c, two = Node(name="b", value=b), Node(name="c", value=c), Node(name="2", value=TWO)
    d, e = add("d", at_b, at_c), add("e", at_c, two)
    return at_b, at_c, two, d, e, multiply("a", d, e)


def gradients(nodes: tuple[Node, ...]) -> Mapping[str, float]:
    """Name -> derivative of the last node by each: 1 for itself, else the sum over all ways to it.

    Args:
        nodes: each after its inputs, so that backwards a node has its whole gradient before it is visited.
    """
    by_node = dict.fromkeys((node.name for node in nodes), 0.0)
    by_node[nodes[-1].name] = 1.0
    for node in reversed(nodes):
        for source, derivative in node.inputs:
            by_node[source.name] += by_node[node.name] * derivative
    return by_node


@dataclass(frozen=True, kw_only=True)
class Differentiate(Bounded):
    """Settings; attributes: b, c: the numbers that are given."""

    b: float = 2.0
    c: float = 1.0

    def __call__(self, context: LessonContext) -> Findings:
        """Values forwards, gradients backwards; compare with the formulas, the tape and differences."""
        nodes = graph(self.b, self.c)
        values, slopes = {node.name: node.value for node in nodes}, gradients(nodes)
        tape = tape_gradients(self.b, self.c)
        scale = max(1.0, *map(abs, (*values.values(), *slopes.values())))
        error = ROUNDING * scale
        by_difference = {
            "b": _difference(lambda step: graph(self.b + step, self.c)[-1].value),
            "c": _difference(lambda step: graph(self.b, self.c + step)[-1].value),
        }
        return Findings(
            figures=(
                close("d = b + c", values["d"], self.b + self.c, within=error),
                close("e = c + 2", values["e"], self.c + TWO, within=error),
                close("a = d e", values["a"], (self.b + self.c) * (self.c + TWO), within=error),
                close("∂a/∂d", slopes["d"], values["e"], within=error),
                close("∂a/∂e", slopes["e"], values["d"], within=error),
                close("∂a/∂b", slopes["b"], self.c + TWO, within=error),
                close("∂a/∂c", slopes["c"], (self.c + TWO) + (self.b + self.c), within=error),
                *(close(f"∂a/∂{name}, by GradientTape", tape[name], slopes[name], within=error) for name in tape),
                *(  # rounding of the difference: 1e-16 a / 1e-6
                    below(
                        f"∂a/∂{name}, difference", abs(quotient - slopes[name]), 1e-8 * scale, of="from a central one"
                    )
                    for name, quotient in by_difference.items()
                ),
            ),
            pictures={"Values and gradients": _draw(nodes, slopes, context.directory / "graph.png")},
            notes=("c reaches a through d and through e: its gradient is the sum of both ways.",),
        )


def tape_gradients(b: float, c: float) -> Mapping[str, float]:
    """∂a/∂b and ∂a/∂c by tf.GradientTape, float64."""
    import tensorflow as tf

    at_b, at_c = tf.Variable(b, dtype=tf.float64), tf.Variable(c, dtype=tf.float64)
    with tf.GradientTape() as tape:
        a = (at_b + at_c) * (at_c + TWO)
    by_b, by_c = tape.gradient(a, [at_b, at_c])
    return {"b": float(by_b), "c": float(by_c)}


def _difference(a_at: Callable[[float], float]) -> float:
    """Central difference of a; exact for a polynomial of degree 2, but for rounding."""
    return (a_at(DIFFERENCE_STEP) - a_at(-DIFFERENCE_STEP)) / (2 * DIFFERENCE_STEP)


PLACES = {"b": (0, 2), "c": (0, 1), "2": (0, 0), "d": (1, 1.5), "e": (1, 0.5), "a": (2, 1)}


def _draw(nodes: tuple[Node, ...], slopes: Mapping[str, float], path: Path) -> Path:
    """The nodes with their values and gradients; an arrow for each input, with the derivative by it."""
    figure = drawing.figure(width=7.2, height=3.8)
    axes = figure.subplots()
    for node in nodes:
        to = np.array(PLACES[node.name])
        for source, derivative in node.inputs:
            start = np.array(PLACES[source.name])
            way = to - start
            axes.annotate("", start + 0.84 * way, start + 0.16 * way, arrowprops={"arrowstyle": "->"})
            axes.text(*(start + 0.5 * way + (0, 0.1)), f"{derivative:g}", color="tab:red", ha="center")
        label = (
            node.name if node.name == "2" else f"{node.name} = {node.value:g}\n∂a/∂{node.name} = {slopes[node.name]:g}"
        )
        axes.text(*to, label, ha="center", va="center", bbox={"boxstyle": "round", "facecolor": "lightblue"})
    axes.set(xlim=(-0.4, 2.4), ylim=(-0.4, 2.4))
    axes.axis("off")
    return drawing.save(figure, path)


RECIPE = Lesson(
    name="computation-graph",
    description="The graph of a = (b + c)(c + 2): values forwards, gradients backwards, by hand and by tape.",
    study=Differentiate(),
)
