"""A recursive network reads logical expressions along their trees: ((1 and 0) or (1 xor 0)) is 1.

    leaf: v = e_0 or e_1    node: v = tanh((v_left, v_right) W_op + b_op)    at the root: p = σ(v · u + c)

The weights of an operation are the same wherever it is. Only the truth of the whole expression is given; the error goes
back along the tree (back-propagation through structure). Expressions of at most three levels are learnt, and deeper
ones asked. A network that knows how often each sign occurs, but not the tree, is the comparison.

Command: python -m training run recursive-network
Result: right at 3 levels 0.9900, at 8 levels 0.9083; by counting 0.6667 and 0.5550; gradient within 1.7e-16 of
    GradientTape; 24 s beside other work, 7 s of processor time
Date and hardware: 2026-11-30, two cores of an AMD EPYC
Source: Goller & Küchler, Learning Task-Dependent Distributed Representations by Backpropagation Through Structure
    (1996).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from training.bounds import AboveZero, Bounded, Count, Seed
from training.measure import drawing
from training.measure.findings import Findings, above, below, recorded
from training.network.activations import Array, sigmoid
from training.recipe.lesson import Lesson, LessonContext

OPERATIONS: dict[str, Callable[[bool, bool], bool]] = {
    "and": lambda left, right: left and right,
    "or": lambda left, right: left or right,
    "xor": lambda left, right: left != right,
}
NAMES = tuple(OPERATIONS)
DEEPEST = 8

Tree = bool | tuple[int, "Tree", "Tree"]
"""A leaf, or (index of the operation, left, right)."""


@dataclass(frozen=True, kw_only=True)
class Weights:
    """Leaves e (2, size), kernels W (3, 2 size, size), biases b (3, size), output u (size,), output_bias c (1,)."""

    leaves: Array
    kernels: Array
    biases: Array
    output: Array
    output_bias: Array


@dataclass(frozen=True, kw_only=True)
class Read:
    """A node with its vector; attributes: tree: below it; children: left and right, none for a leaf; vector: v."""

    tree: Tree
    children: tuple["Read", ...]
    vector: Array


def draw_tree(rng: np.random.Generator, depth: int) -> Tree:
    """A random expression with exactly ``depth`` levels of operations."""
    if depth == 0:
        return bool(rng.integers(2))
    sides = [draw_tree(rng, depth - 1), draw_tree(rng, int(rng.integers(depth)))]
    left, right = sides if rng.integers(2) else sides[::-1]
    return int(rng.integers(len(NAMES))), left, right


def truth(tree: Tree) -> bool:
    """Whether the expression is true."""
    if isinstance(tree, bool):
        return tree
    operation, left, right = tree
    return OPERATIONS[NAMES[operation]](truth(left), truth(right))


def text(tree: Tree) -> str:
    """The expression with all its brackets."""
    if isinstance(tree, bool):
        return str(int(tree))
    operation, left, right = tree
    return f"({text(left)} {NAMES[operation]} {text(right)})"


def read(weights: Weights, tree: Tree) -> Read:
    """The vectors of all nodes, from the leaves to the root."""
    if isinstance(tree, bool):
        return Read(tree=tree, children=(), vector=weights.leaves[int(tree)])
    operation, *sides = tree
    children = tuple(read(weights, side) for side in sides)
    both = np.concatenate([child.vector for child in children])
    vector = np.tanh(both @ weights.kernels[operation] + weights.biases[operation])
    return Read(tree=tree, children=children, vector=vector)


def answer(weights: Weights, tree: Tree) -> float:
    """p, the probability that the expression is true."""
    return float(sigmoid(read(weights, tree).vector @ weights.output + weights.output_bias)[0])


def gradient_of(weights: Weights, tree: Tree) -> Weights:
    """Of the cross-entropy of one expression, by the chain rule, from the root to the leaves."""
    root = read(weights, tree)
    by_score = sigmoid(root.vector @ weights.output + weights.output_bias) - truth(tree)
    gradient = Weights(**{name: np.zeros_like(value) for name, value in vars(weights).items()})
    gradient.output[:] = by_score * root.vector
    gradient.output_bias[:] = by_score
    _hand_down(weights, gradient, root, by_score * weights.output)
    return gradient


def _hand_down(weights: Weights, gradient: Weights, node: Read, by_vector: Array) -> None:
    """Add what ``node`` and all below it contribute to ``gradient``; ``by_vector`` is the derivative by its vector."""
    if isinstance(node.tree, bool):
        gradient.leaves[int(node.tree)] += by_vector
        return
    operation = node.tree[0]
    both = np.concatenate([child.vector for child in node.children])
    delta = by_vector * (1 - node.vector**2)
    gradient.kernels[operation] += np.outer(both, delta)
    gradient.biases[operation] += delta
    for child, part in zip(node.children, np.split(weights.kernels[operation] @ delta, 2), strict=True):
        _hand_down(weights, gradient, child, part)


@dataclass(frozen=True, kw_only=True)
class Logic(Bounded):
    """Settings.

    Attributes:
        size: of the vectors.
        expressions: to learn from, of one to three levels.
        asked: new expressions of each depth; those of one or two levels may be among the learnt ones.
        learning_rate, epochs: of stochastic gradient descent, one expression at a time.
        seed: of the expressions, the weights and the order.
    """

    size: Count = 8
    expressions: Count = 600
    asked: Count = 600
    learning_rate: AboveZero = 0.1
    epochs: Count = 30
    seed: Seed = 0

    def __call__(self, context: LessonContext) -> Findings:
        """Learn from shallow expressions; ask deeper ones; compare with counting."""
        rng = np.random.default_rng(self.seed)
        known = [draw_tree(rng, int(rng.integers(1, 4))) for _ in range(self.expressions)]
        start = initial_weights(self.size, rng)
        apart = tape_apart(start, max(known, key=lambda tree: len(text(tree))))
        weights = self._learnt(start, known, rng)
        counting = _fit_counts(known)
        depths = range(1, DEEPEST + 1)
        asked = {depth: [draw_tree(rng, depth) for _ in range(self.asked)] for depth in depths}
        with_tree = [np.mean([(answer(weights, t) > 0.5) == truth(t) for t in asked[d]]) for d in depths]
        without = [np.mean((_counts(asked[d]) @ counting > 0) == [truth(t) for t in asked[d]]) for d in depths]
        curves = {"along the tree": (depths, with_tree), "counting the signs": (depths, without)}
        picture = drawing.lines(curves, context.directory / "depths.png", x="levels", y="share of right answers")
        return Findings(
            figures=(
                below("gradient, difference", apart, 1e-12, of="from GradientTape"),
                *(recorded(f"{depth} levels: right", float(with_tree[depth - 1])) for depth in depths),
                *(recorded(f"{depth} levels: right by counting", float(without[depth - 1])) for depth in depths),
                above("3 levels, right", float(with_tree[2]), 0.95, of="nearly all"),
                above(
                    f"{DEEPEST} levels, right",
                    float(with_tree[-1]),
                    float(without[-1]) + 0.1,
                    of="counting and a tenth",
                ),
            ),
            pictures={"Deeper than what was learnt": picture},
            notes=(f"An example of {DEEPEST} levels: {text(asked[DEEPEST][0])} is {int(truth(asked[DEEPEST][0]))}.",),
        )

    def _learnt(self, weights: Weights, known: list[Tree], rng: np.random.Generator) -> Weights:
        """Stochastic gradient descent, with a rate that falls to nothing along a straight line."""
        steps = self.epochs * len(known)
        for step in range(steps):
            gradient = gradient_of(weights, known[int(rng.integers(len(known)))])
            rate = self.learning_rate * (1 - step / steps)
            weights = Weights(**{name: value - rate * vars(gradient)[name] for name, value in vars(weights).items()})
        return weights


def initial_weights(size: int, rng: np.random.Generator) -> Weights:
    """Normal weights; kernels with the deviation that keeps the size of the vectors."""
    return Weights(
        leaves=rng.normal(size=(2, size)),
        kernels=rng.normal(0, (2 * size) ** -0.5, (len(NAMES), 2 * size, size)),
        biases=np.zeros((len(NAMES), size)),
        output=rng.normal(0, size**-0.5, size),
        output_bias=np.zeros(1),
    )


def tape_apart(weights: Weights, tree: Tree) -> float:
    """Largest difference of the gradient from that of tf.GradientTape, float64."""
    import tensorflow as tf

    variables = {name: tf.Variable(value) for name, value in vars(weights).items()}

    def vector(tree: Tree) -> tf.Tensor:
        if isinstance(tree, bool):
            return variables["leaves"][int(tree)]
        operation, left, right = tree
        both = tf.concat([vector(left), vector(right)], axis=0)[None]
        return tf.tanh(both @ variables["kernels"][operation] + variables["biases"][operation])[0]

    with tf.GradientTape() as tape:
        score = tf.reduce_sum(vector(tree) * variables["output"]) + variables["output_bias"]
        loss = tf.nn.sigmoid_cross_entropy_with_logits(tf.constant([float(truth(tree))], tf.float64), score)
    by_tape = tape.gradient(loss, variables)
    by_hand = vars(gradient_of(weights, tree))
    dense = {name: tf.convert_to_tensor(value).numpy() for name, value in by_tape.items() if value is not None}
    return max(float(np.abs(dense[name] - by_hand[name]).max()) for name in dense)


def _counts(trees: list[Tree]) -> Array:
    """How often each sign occurs in an expression, and 1: shape (trees, 6)."""
    signs = ("0", "1", *(f" {name} " for name in NAMES))
    return np.array([[*(text(tree).count(sign) for sign in signs), 1] for tree in trees], float)


def _fit_counts(trees: list[Tree], *, steps: int = 2000) -> Array:
    """Logistic regression on the counts, by gradient descent: its weights, (6,)."""
    rows, targets = _counts(trees), np.array([truth(tree) for tree in trees], float)
    weights = np.zeros(rows.shape[1])
    for _ in range(steps):
        weights = weights - 0.05 * rows.T @ (sigmoid(rows @ weights) - targets) / len(rows)
    return weights


RECIPE = Lesson(
    name="recursive-network",
    description="The truth of logical expressions, read along their trees; deeper ones than those that were learnt.",
    study=Logic(),
)
