"""Integrated gradients of a SavedModel's signature, by its parts. Runs in the process that imports TensorFlow.

A graph reads whole numbers, ids or strings, which have no gradient. So the path runs through the first tensors of
floating point that are computed from the inputs: pixels after their cast, vectors after their lookup. Each of their
elements belongs to the parts whose hiding changes it, in equal shares.

Source: Sundararajan, Taly and Yan, Axiomatic Attribution for Deep Networks, arXiv:1703.01365, section 3.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from app.types import Array, Tensors

Floats = npt.NDArray[np.float64]

# Points of the path, one number after the other until the scores add up.
POINTS = (32, 64, 128, 256)
# The sum of the scores may miss the difference by this share of it, or by this much.
TOLERANCE, SMALLEST = 0.01, 1e-4
# Rows in one call.
_AT_ONCE = 32
# Operations whose result depends on the shape of a tensor alone.
_OF_SHAPES = {"Shape", "ShapeN", "Size", "Rank"}


class NoGradient(Exception):
    """The signature cannot be differentiated; the message has the reason."""


class PathGradients:
    """The gradients of one signature.

    Args:
        tf: the module.
        freeze: makes a function whose variables are constants, with its loops as they are.
        function: the signature of a loaded SavedModel.

    Raises:
        NoGradient: no number of floating point is computed from its inputs.
    """

    def __init__(self, tf: Any, freeze: Callable[[Any], Any], function: Any) -> None:
        self._tf = tf
        frozen = freeze(function)
        keys: dict[str, str] = {spec.name: key for key, spec in function.structured_input_signature[1].items()}
        self._inputs = list(frozen.inputs)
        if any(tensor.op.name not in keys for tensor in self._inputs):
            raise NoGradient("its graph has inputs that are not those of its signature, such as tables")
        self._names = [keys[tensor.op.name] for tensor in self._inputs]
        self._outputs = dict(zip(sorted(function.structured_outputs), frozen.outputs, strict=True))
        self._graph = frozen.graph.as_graph_def()
        self._entries = _entries(frozen.graph.get_operations(), self._inputs)
        if not self._entries:
            raise NoGradient("nothing of floating point is computed from its inputs")
        given = [self._spec(tensor) for tensor in self._inputs]
        entered = [self._spec(tensor) for tensor in self._entries]
        self._enter = tf.function(self._entered, input_signature=[given])
        signature = [given, entered, tf.TensorSpec([], tf.int32)]
        self._gradients: dict[str, Any] = {
            name: tf.function(self._differentiated(tensor), input_signature=signature)
            for name, tensor in self._outputs.items()
        }

    def scores(self, variants: Tensors, output: str, target: int) -> dict[str, Array]:
        """The score of each part.

        Args:
            variants: input name -> (2 + parts, *shape): the instance, the instance with everything hidden, and with
                each part hidden alone.
            output: its name.
            target: the element of the output that is explained.

        Returns:
            ``scores``: float64 (parts,); ``difference``: float64 (), of the output between the two instances.

        Raises:
            NoGradient: the graph computes something that is not one row for each instance.
        """
        given = [np.asarray(variants[name]) for name in self._names]
        whole, hidden = (self._rows(given, slice(row, row + 1)) for row in (0, 1))
        belongs = self._belongs(given, whole)
        repeated = [np.repeat(values[:1], _AT_ONCE, axis=0) for values in given]
        found, difference = np.zeros(len(given[0]) - 2), 0.0
        for points in POINTS:
            summed, difference = self._along(repeated, whole, hidden, output, target, points)
            found = sum(
                (
                    _shared(weights * (one - other)[0].astype(np.float64).reshape(-1), owners)
                    for weights, one, other, owners in zip(summed, whole, hidden, belongs, strict=True)
                ),
                np.zeros(len(given[0]) - 2),
            )
            if abs(found.sum() - difference) <= max(TOLERANCE * abs(difference), SMALLEST):
                break
        return {"scores": found, "difference": np.asarray(difference, np.float64)}

    def _along(
        self,
        given: Sequence[Array],
        whole: Sequence[Array],
        hidden: Sequence[Array],
        output: str,
        target: int,
        points: int,
    ) -> tuple[list[Floats], float]:
        """The mean gradient along the straight path, by Gauss and Legendre; and the difference of the output."""
        tf = self._tf
        nodes, weights = np.polynomial.legendre.leggauss(points)
        places, weights = (nodes + 1) / 2, weights / 2
        summed = [np.zeros(values.size) for values in whole]
        chosen = tf.constant(target, tf.int32)
        for start in range(0, points, _AT_ONCE):
            part = places[start : start + _AT_ONCE]
            at = [
                other + part.astype(one.dtype).reshape(-1, *[1] * (one.ndim - 1)) * (one - other)
                for one, other in zip(whole, hidden, strict=True)
            ]
            _, gradients = self._gradients[output](self._constants(given), [tf.constant(each) for each in at], chosen)
            for total, gradient in zip(summed, gradients, strict=True):
                flat = gradient.numpy().astype(np.float64).reshape(len(part), -1)
                total += weights[start : start + _AT_ONCE] @ flat
        ends = [np.concatenate([one, other]) for one, other in zip(whole, hidden, strict=True)]
        values, _ = self._gradients[output](
            self._constants([values[:2] for values in given]), [tf.constant(each) for each in ends], chosen
        )
        high, low = values.numpy().astype(np.float64)
        return summed, float(high - low)

    def _belongs(self, given: Sequence[Array], whole: Sequence[Array]) -> list[npt.NDArray[np.bool_]]:
        """For each entry, bool (parts, elements): whether hiding the part alone changes the element."""
        parts = []
        for start in range(2, len(given[0]), _AT_ONCE):
            rows = self._rows(given, slice(start, start + _AT_ONCE))
            parts.append([(each != one).reshape(len(each), -1) for each, one in zip(rows, whole, strict=True)])
        return [np.concatenate(each) for each in zip(*parts, strict=True)]

    def _rows(self, given: Sequence[Array], rows: slice) -> list[Array]:
        """The entries of some of the rows."""
        chosen = [values[rows] for values in given]
        found = [tensor.numpy() for tensor in self._enter(self._constants(chosen))]
        for values, tensor in zip(found, self._entries, strict=True):
            if values.ndim == 0 or len(values) != len(chosen[0]):
                raise NoGradient(f"{tensor.name} has shape {list(values.shape)} for {len(chosen[0])} instances")
        return found

    def _constants(self, given: Sequence[Array]) -> list[Any]:
        return [
            self._tf.cast(values, tensor.dtype) if tensor.dtype.is_floating else self._tf.constant(values)
            for values, tensor in zip(given, self._inputs, strict=True)
        ]

    def _spec(self, tensor: Any) -> Any:
        return self._tf.TensorSpec(tensor.shape, tensor.dtype)

    def _entered(self, given: Sequence[Any]) -> list[Any]:
        found: list[Any] = self._imported(self._mapped(self._inputs, given), self._entries)
        return found

    def _differentiated(self, output: Any) -> Any:
        def run(given: Sequence[Any], entered: Sequence[Any], target: Any) -> tuple[Any, list[Any]]:
            tf = self._tf
            replaced = {**self._mapped(self._inputs, given), **self._mapped(self._entries, entered)}
            (answer,) = self._imported(replaced, [output])
            scores = tf.gather(tf.reshape(answer, [tf.shape(answer)[0], -1]), target, axis=1)
            total = tf.reduce_sum(scores)
            return scores, tf.gradients(total, list(entered), unconnected_gradients=tf.UnconnectedGradients.ZERO)

        return run

    @staticmethod
    def _mapped(tensors: Sequence[Any], values: Sequence[Any]) -> dict[str, Any]:
        return {tensor.name: value for tensor, value in zip(tensors, values, strict=True)}

    def _imported(self, replaced: Mapping[str, Any], wanted: Sequence[Any]) -> Any:
        """The tensors of the graph, computed with others in place of some."""
        names = [tensor.name for tensor in wanted]
        kept = [name for name in names if name not in replaced]
        made = self._tf.graph_util.import_graph_def(
            self._graph, input_map=dict(replaced), return_elements=kept, name="of"
        )
        computed = dict(zip(kept, made, strict=True))
        return [replaced[name] if name in replaced else computed[name] for name in names]


def _entries(operations: Sequence[Any], inputs: Sequence[Any]) -> list[Any]:
    """The first tensors of floating point that are computed from the inputs, or are inputs themselves."""
    floats = {tensor.ref() for tensor in inputs if tensor.dtype.is_floating}
    others = {tensor.ref() for tensor in inputs} - floats
    found = [tensor for tensor in inputs if tensor.dtype.is_floating]
    for operation in operations:
        read = {tensor.ref() for tensor in operation.inputs}
        if read & floats:
            floats |= {tensor.ref() for tensor in operation.outputs}
        elif read & others and operation.type not in _OF_SHAPES:
            entries = [tensor for tensor in operation.outputs if tensor.dtype.is_floating]
            found += entries
            floats |= {tensor.ref() for tensor in entries}
            others |= {tensor.ref() for tensor in operation.outputs} - floats
    return found


def _shared(scores: Floats, owners: npt.NDArray[np.bool_]) -> Floats:
    """Scores (elements,) in equal shares to the parts that own each: (parts,)."""
    result: Floats = owners @ (scores / np.maximum(owners.sum(axis=0), 1))
    return result
