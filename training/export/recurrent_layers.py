"""Recurrent layers of a Keras model become fused ONNX operations that know the length of each row.

tf2onnx converts a recurrent layer with a mask, and every recurrent layer of Keras 3, to a ``Loop`` that steps through
the sequence one operation at a time. While a model is traced in ``fused_layers``, such a layer puts a marker into the
graph instead of its loop (``recurrent_nodes``). All other layers are traced with their masks: pooling, attention and
arithmetic with a mask need nothing of their own.

A layer without an ONNX form (``recurrent_cells.NoOnnxForm``) keeps its loop and its mask: slower, the same answer.
``python -m benchmarks lstm`` measures both; docs/explanation/performance.md has the table.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from inspect import signature
from typing import Any

from training.export.masked_steps import KeptSteps
from training.export.recurrent_cells import NoOnnxForm, OnnxCell, is_layer, library_of, onnx_cell
from training.export.recurrent_nodes import Markers

_ONE_WAY = ("LSTM", "GRU", "SimpleRNN", "RNN")
_MERGES: dict[str, Callable[[Any, Any], Any]] = {
    "sum": lambda a, b: a + b,
    "mul": lambda a, b: a * b,
    "ave": lambda a, b: (a + b) / 2,
}


@contextmanager
def fused_layers(model: Any, *, ids: str | None) -> Iterator[Markers]:
    """Replace the calls of the model's recurrent layers by markers, for traces in the body.

    Args:
        model: of Keras 3 or tf_keras.
        ids: name of the traced input of token ids, of which 0 is padding and comes only after the text; None if any
            step may be masked.

    Yields:
        The markers, whose ``handlers`` tf2onnx needs.
    """
    trace = _Trace(Markers(), ids)
    replaced: list[Any] = []
    try:
        for layer in model._flatten_layers(recursive=True, include_self=True):
            call = trace.call_of(layer)
            if call is not None:
                replaced.append(layer)
                object.__setattr__(layer, "call", call)
        yield trace.markers
    finally:
        for layer in replaced:
            object.__delattr__(layer, "call")


@dataclass(frozen=True)
class _Read:
    """The outputs of one direction.

    Attributes:
        y: (batch, steps, units), as of ``Markers.mark``.
        states: (batch, units) each, as Keras returns them.
        last: (batch, units): the last output.
        kept: the steps that were read; None for all.
    """

    y: Any
    states: list[Any]
    last: Any
    kept: KeptSteps | None

    def sequence(self, layer: Any, *, backwards: bool) -> Any:
        """The outputs of every step in the order of time."""
        if self.kept is None:
            return self.y
        return self.kept.sequence(self.y, self.last, backwards=backwards, zeros=bool(layer.zero_output_for_mask))

    def answer(self, layer: Any, *, backwards: bool) -> Any:
        """The output of a layer that returns no sequence: that of the step it reads last, even if that is masked."""
        import tensorflow as tf

        if self.kept is None or not layer.zero_output_for_mask:
            return self.last
        step = self.kept.mask[:, :1] if backwards else self.kept.mask[:, -1:]
        return tf.where(step, self.last, tf.zeros_like(self.last))


class _Trace:
    """Gives the calls, and remembers what they found during one trace."""

    def __init__(self, markers: Markers, ids: str | None) -> None:
        self.markers = markers
        self._ids = ids
        self._kept: dict[Any, KeptSteps] = {}
        self._unfilled: dict[Any, tuple[Any, Any]] = {}  # a sequence -> the same with any numbers at masked steps, mask

    def call_of(self, layer: Any) -> Callable[..., Any] | None:
        """What a layer does instead of its ``call``; None if it remains as it is."""
        import tensorflow as tf

        ways: tuple[Any, ...] = (layer,)
        try:
            if is_layer(layer, *_ONE_WAY):
                cells: tuple[OnnxCell, ...] = (onnx_cell(layer),)
                call = self._one_way
            elif is_layer(layer, "Bidirectional"):
                ways = (layer.forward_layer, layer.backward_layer)
                if not all(is_layer(way, *_ONE_WAY) for way in ways):
                    return None
                cells = (onnx_cell(ways[0]), onnx_cell(ways[1]))
                if not cells[0].fits(cells[1]):
                    return None
                call = self._both_ways
            else:
                return None
        except NoOnnxForm:
            return None
        original = layer.call
        keeps_masked = any(map(_misreads_masks, ways))

        def replacement(inputs: Any, *rest: Any, **options: Any) -> Any:
            given = _Arguments.of(original, inputs, *rest, **options)
            if given is None or (keeps_masked and given.mask is not None):
                return original(inputs, *rest, **options)
            return call(layer, cells, given)

        return tf.autograph.experimental.do_not_convert(replacement)  # type: ignore[no-any-return]

    def _one_way(self, layer: Any, cells: Sequence[OnnxCell], given: "_Arguments") -> Any:
        import tensorflow as tf

        (read,) = self._read(cells, given)
        backwards = cells[0].backwards
        if layer.return_sequences:
            answer = read.sequence(layer, backwards=backwards)
            if backwards:
                answer = tf.reverse(answer, [1])  # Keras gives the outputs in the order in which it read
            elif read.kept is not None and answer is not read.y and read.kept.order is None:
                self._unfilled[answer.ref()] = read.y, read.kept.mask
        else:
            answer = read.answer(layer, backwards=backwards)
        return _packed(layer, [answer, *(read.states if layer.return_state else [])])

    def _both_ways(self, layer: Any, cells: Sequence[OnnxCell], given: "_Arguments") -> Any:
        reads = self._read(cells, given)
        ways = (layer.forward_layer, layer.backward_layer)
        answers = [
            read.sequence(way, backwards=cell.backwards)
            if layer.return_sequences
            else read.answer(way, backwards=cell.backwards)
            for way, cell, read in zip(ways, cells, reads, strict=True)
        ]
        if layer.merge_mode == "concat":
            merged = [_side_by_side(*answers)]
        else:
            merged = answers if layer.merge_mode is None else [_MERGES[layer.merge_mode](*answers)]
        states = [state for read in reads for state in read.states] if layer.return_state else []
        return _packed(layer, [*merged, *states])

    def _read(self, cells: Sequence[OnnxCell], given: "_Arguments") -> list[_Read]:
        """What every direction gives."""
        import tensorflow as tf

        x, kept = given.x, None if given.mask is None else self._steps(given.mask)
        if kept is not None:
            x = kept.packed(self._without_filling(x, given.mask))
        y, *states = self.markers.mark(cells, x, None if kept is None else kept.lengths, given.initial)
        parts = [[tensor] if len(cells) == 1 else tf.split(tensor, 2, axis=-1) for tensor in (y, *states)]
        found = []
        for way, cell in enumerate(cells):
            initial = given.initial[way * cell.states : (way + 1) * cell.states] or [None] * cell.states
            ends = [part[way] for part in parts[1:]]
            last = ends[0] if kept is None else kept.state(ends[0], None)
            if kept is not None:
                ends = [kept.state(end, start) for end, start in zip(ends, initial, strict=True)]
            found.append(_Read(parts[0][way], ends, last, kept))
        return found

    def _steps(self, mask: Any) -> KeptSteps:
        """The steps of a mask, computed once."""
        if mask.ref() not in self._kept:
            self._kept[mask.ref()] = KeptSteps.of(mask, ids=self._ids)
        return self._kept[mask.ref()]

    def _without_filling(self, x: Any, mask: Any) -> Any:
        """The sequence as another recurrent layer gave it, before Keras' numbers were put at the masked steps."""
        source = x
        while source.op.type == "Identity":
            source = source.op.inputs[0]
        unfilled, other = self._unfilled.get(source.ref(), (x, None))
        return unfilled if other is mask else x


@dataclass(frozen=True)
class _Arguments:
    """The arguments of a recurrent layer's ``call``: x (batch, steps, n), the mask, and the initial states."""

    x: Any
    mask: Any
    initial: list[Any]

    @classmethod
    def of(cls, call: Callable[..., Any], *arguments: Any, **options: Any) -> "_Arguments | None":
        """From the arguments of a call; None if they have no ONNX form."""
        inputs, *_ = arguments
        bound = signature(call).bind(*arguments, **options).arguments
        mask, initial = bound.get("mask"), bound.get("initial_state")
        if isinstance(inputs, list | tuple):
            inputs, *states = inputs
            initial = states or initial
        if isinstance(mask, list | tuple):
            mask = mask[0]
        is_sequence = getattr(inputs, "shape", None) is not None and inputs.shape.rank == 3
        if not is_sequence or inputs.dtype != "float32" or bound.get("constants") is not None:
            return None
        if mask is not None and (mask.shape.rank != 2 or mask.dtype != "bool"):
            return None
        states = [] if initial is None else list(initial) if isinstance(initial, list | tuple) else [initial]
        return cls(inputs, mask, states)


def _misreads_masks(layer: Any) -> bool:
    """Whether a layer reads the steps backwards but (part of) their mask forwards, as Keras does in an unrolled loop.

    tf_keras 2.21 never reverses the mask, Keras 3.15 not where it puts zeros at masked steps.
    """
    return bool(layer.go_backwards and layer.unroll)


def _side_by_side(left: Any, right: Any) -> Any:
    """Both along the last axis; if they are the halves of one tensor, that tensor."""
    import tensorflow as tf

    halves = left.op.type == "Split" and left.op.name == right.op.name
    return left.op.inputs[1] if halves and left.value_index < right.value_index else tf.concat([left, right], axis=-1)


def _packed(layer: Any, answers: list[Any]) -> Any:
    """The answers in the structure that the library gives."""
    if len(answers) == 1:
        return answers[0]
    return answers if library_of(layer) == "tf_keras" else tuple(answers)
