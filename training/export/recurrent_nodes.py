"""Marker operations in a traced TensorFlow graph, which tf2onnx replaces by LSTM, GRU or RNN.

A marker is a ``PyFunc`` without a function: it survives the optimisers of TensorFlow, and it never runs.

States of zeros are left out, not computed from the batch size: 3 to 15 % less time for one row (ONNX Runtime 1.31.1,
one thread). Reading both last states at once takes as long as reading them one by one (within 1 %).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from training.export.recurrent_cells import OnnxCell

OP = "PyFunc"
_TOKEN = "atelier/recurrent/"


@dataclass(frozen=True)
class Call:
    """One marker.

    Attributes:
        cells: one, or forward and backward.
        has_lengths: whether the second input is the lengths.
        has_states: whether the last inputs are the initial states, as many as ``cells`` have.
    """

    cells: Sequence[OnnxCell]
    has_lengths: bool
    has_states: bool


class Markers:
    """The markers of one trace, and their conversion."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.nodes: set[str] = set()

    def mark(self, cells: Sequence[OnnxCell], x: Any, lengths: Any | None, initial: Sequence[Any]) -> list[Any]:
        """A marker in the graph that is being traced.

        Args:
            cells: one, or forward and backward.
            x: float32, (batch, steps, inputs).
            lengths: int32, (batch,); None: every row has all steps.
            initial: the states (batch, units) of each cell; empty: zeros.

        Returns:
            The outputs of every step in the order of time, (batch, steps, units), 0 after the length of a row; then
            the states after the last step, (batch, units). Two cells have them side by side, (..., 2 * units).
        """
        import tensorflow as tf

        self.calls.append(Call(tuple(cells), lengths is not None, bool(initial)))
        width = len(cells) * cells[0].units
        made = tf.raw_ops.PyFunc(
            input=[x, *([] if lengths is None else [lengths]), *initial],
            token=f"{_TOKEN}{len(self.calls) - 1}",
            Tout=[tf.float32] * (1 + cells[0].states),
            name="recurrent",
        )
        self.nodes.add(made[0].op.name)
        batch, steps, _ = x.shape
        shapes = [[batch, steps, width], *[[batch, width]] * cells[0].states]
        return [tf.ensure_shape(tensor, shape) for tensor, shape in zip(made, shapes, strict=True)]

    def handlers(self) -> dict[str, tuple[Callable[..., None], list[Any]]]:
        """The ``custom_op_handlers`` of tf2onnx that convert the markers."""
        return {OP: (self._convert, [])} if self.calls else {}

    def _convert(self, ctx: Any, node: Any, name: str, args: Any) -> None:
        token = node.get_attr_str("token")
        if not token.startswith(_TOKEN):
            raise ValueError("a function of Python has no ONNX operation")
        call = self.calls[int(token.removeprefix(_TOKEN))]
        inputs, outputs = list(node.input), list(node.output)
        batch, steps, width = ctx.get_shape(inputs[0]) or [-1, -1, call.cells[0].weights.shape[1]]
        ctx.remove_node(node.name)
        states, units = call.cells[0].states, call.cells[0].units
        both = len(call.cells) * units
        x = ctx.make_node("Transpose", [inputs[0]], attr={"perm": [1, 0, 2]}, shapes=[[steps, batch, width]])
        lengths = inputs[1] if call.has_lengths else ""
        given = inputs[-states * len(call.cells) :] if call.has_states else []
        made = ctx.make_node(
            call.cells[0].op,
            [x.output[0], *_weights(ctx, name, call.cells), lengths, *_initial(ctx, given, states)],
            output_count=1 + states,
            attr=_attributes(call.cells),
            shapes=[[steps, len(call.cells), batch, units], *[[len(call.cells), batch, units]] * states],
            dtypes=[1] * (1 + states),
        )
        if len(call.cells) == 1:
            ahead = _reshaped(ctx, "Squeeze", made.output[0], [1], [steps, batch, units])
        else:
            apart = ctx.make_node(
                "Transpose", [made.output[0]], attr={"perm": [0, 2, 1, 3]}, shapes=[[steps, batch, 2, units]]
            )
            ahead = _reshaped(ctx, "Reshape", apart.output[0], [0, 0, both], [steps, batch, both])
        ctx.make_node(
            "Transpose",
            [ahead],
            attr={"perm": [1, 0, 2]},
            outputs=[outputs[0]],
            shapes=[[batch, steps, both]],
            dtypes=[1],
        )
        for state, output in zip(made.output[1:], outputs[1:], strict=True):
            if len(call.cells) == 1:
                _reshaped(ctx, "Squeeze", state, [0], [batch, units], output)
            else:
                apart = ctx.make_node("Transpose", [state], attr={"perm": [1, 0, 2]}, shapes=[[batch, 2, units]])
                _reshaped(ctx, "Reshape", apart.output[0], [0, both], [batch, both], output)


def _attributes(cells: Sequence[OnnxCell]) -> dict[str, Any]:
    """The attributes of the ONNX node."""
    functions = [function for cell in cells for function in cell.activations]
    direction = "bidirectional" if len(cells) == 2 else "reverse" if cells[0].backwards else "forward"
    found: dict[str, Any] = {
        "direction": direction,
        "hidden_size": cells[0].units,
        "activations": [name for name, _ in functions],
    }
    alphas = [numbers[0] for _, numbers in functions if numbers]
    betas = [numbers[1] for _, numbers in functions if len(numbers) == 2]
    found |= {"activation_alpha": alphas} if alphas else {}
    found |= {"activation_beta": betas} if betas else {}
    return found | ({"linear_before_reset": int(cells[0].linear_before_reset)} if cells[0].op == "GRU" else {})


def _weights(ctx: Any, name: str, cells: Sequence[OnnxCell]) -> list[str]:
    """Names of the constants W, R and B, with the directions first."""
    parts = {
        "W": [cell.weights for cell in cells],
        "R": [cell.recurrence for cell in cells],
        "B": [cell.bias for cell in cells],
    }
    return [ctx.make_const(f"{name}/{part}", np.stack(values)).output[0] for part, values in parts.items()]


def _initial(ctx: Any, given: Sequence[str], states: int) -> list[str]:
    """Names of the initial states, (directions, batch, units) each; those of each direction are given together."""
    found = []
    for state in range(states if given else 0):
        parts = [_reshaped(ctx, "Unsqueeze", tensor, [0], None) for tensor in given[state::states]]
        found.append(parts[0] if len(parts) == 1 else ctx.make_node("Concat", parts, attr={"axis": 0}).output[0])
    return found


def _reshaped(ctx: Any, op: str, tensor: str, argument: list[int], shape: Any, output: str | None = None) -> str:
    """Squeeze, Unsqueeze or Reshape with a constant argument; returns the name of its output."""
    from tf2onnx.utils import make_name

    constant = ctx.make_const(make_name(op), np.array(argument, np.int64)).output[0]
    node = ctx.make_node(
        op, [tensor, constant], outputs=[output] if output else None, shapes=shape and [shape], dtypes=shape and [1]
    )
    return str(node.output[0])
