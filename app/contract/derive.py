"""The contract of a model without model.json, derived from the inputs and outputs of its graph."""

import logging
from dataclasses import replace

from pydantic import ValidationError

from app.contract.dtypes import NAMES, DType
from app.contract.files.regular import shown
from app.contract.graph_facts import GraphFacts, Stated, StatedTensor, TensorFacts
from app.contract.model_spec import MOST_TENSORS, NAME_RULE, ModelSpec, is_model_name
from app.contract.steps import MOST_LABELS, BatchingHints, Classification
from app.contract.tensor_spec import MOST_DIMENSIONS, TensorSpec
from app.errors import VersionRefused

log = logging.getLogger("atelier.contract")

_DTYPES: dict[str, DType] = {dtype: dtype for dtype in NAMES}
_TRITON_TYPES = {names.triton: dtype for dtype, names in NAMES.items()}
_NOT_KNOWN = "not known: the version has no model.json"


def derive(name: str, facts: GraphFacts, stated: Stated | None = None) -> tuple[ModelSpec, str]:
    """The contract of model ``name``, and why its requests cannot share a batch; empty if they may.

    If the first dimension of every tensor varies, it is used as the batch. If it is 1 in every tensor, instances run
    one at a time. Otherwise there is no batch dimension, and each request runs as a whole. What is ``stated`` counts
    instead, as long as the graph allows it.

    An input with a default is optional, whatever its shape. Without a first dimension that varies it has no batch, and
    a request has one value of it for all its instances.

    Raises:
        VersionRefused: the elements of a tensor are neither numbers nor strings, its number of dimensions is unknown, a
            limit of model.json is exceeded, or the graph is not as it is stated.
    """
    if stated is not None:
        return _as_stated(name, facts, stated)
    facts = with_a_required_input(facts)
    firsts = {_shape("tensor", tensor)[:1] for tensor in (*facts.required, *facts.outputs)}
    if firsts == {(None,)}:
        return _contract(name, facts, BatchingHints(), batched=True), ""
    alone = BatchingHints(max_batch_size=1)
    if firsts == {(1,)}:
        return _contract(name, facts, alone, batched=True), "the graph fixes its first dimension at 1"
    return _contract(name, facts, alone, batched=False), "its tensors do not share a first dimension that varies"


def _as_stated(name: str, facts: GraphFacts, stated: Stated) -> tuple[ModelSpec, str]:
    batched = stated.max_batch_size > 0
    if batched:
        names = {tensor.name for tensor in stated.inputs}
        stated_inputs = (each for each in facts.inputs if not each.optional or each.name in names)
        for tensor in (*stated_inputs, *facts.outputs):
            if _shape("tensor", tensor)[:1] != (None,):
                raise VersionRefused(
                    f"max_batch_size is {stated.max_batch_size}, and the first dimension of {shown(tensor.name)!r} "
                    "does not vary in the graph; state max_batch_size: 0 and dims with all dimensions"
                )
    narrowed = GraphFacts(
        _narrowed("input", facts.inputs, stated.inputs, batched=batched),
        _narrowed("output", facts.outputs, stated.outputs, batched=batched),
    )
    if left := {tensor.name for tensor in facts.required} - {tensor.name for tensor in narrowed.inputs}:
        raise VersionRefused(f"the graph has the input {shown(min(left))!r}, which is not stated")
    hints = BatchingHints(max_batch_size=max(1, stated.max_batch_size))
    spec = _contract(name, narrowed, hints, batched=batched, labels=stated.labels)
    return spec, "" if batched else "max_batch_size is 0"


def _narrowed(
    kind: str, facts: tuple[TensorFacts, ...], stated: tuple[StatedTensor, ...], *, batched: bool
) -> tuple[TensorFacts, ...]:
    """The facts of the tensors that are stated, with the sizes that are; all of them if none is stated."""
    known = {tensor.name: tensor for tensor in facts}
    narrowed = []
    for tensor in stated:
        if (fact := known.get(tensor.name)) is None:
            raise VersionRefused(f"{kind} {shown(tensor.name)!r} is not in the graph; it has {sorted(known)}")
        if _TRITON_TYPES.get(tensor.triton_type) != fact.element:
            raise VersionRefused(
                f"{kind} {shown(tensor.name)!r} is stated as {tensor.triton_type}; in the graph it is {fact.element}"
            )
        if tensor.optional and not fact.optional:
            raise VersionRefused(
                f"{kind} {shown(tensor.name)!r} is stated as optional; the graph has no default for it, so that every "
                "request must give it"
            )
        in_graph = tensor.shape if tensor.graph_shape is None else tensor.graph_shape
        whole = (-1, *in_graph) if batched else in_graph
        sizes = [-1 if size is None else size for size in _shape(kind, fact)]
        if len(whole) != len(sizes) or any(have not in (-1, want) for want, have in zip(whole, sizes, strict=True)):
            raise VersionRefused(
                f"{kind} {shown(tensor.name)!r} is stated with dims {list(in_graph)}; in the graph its shape is "
                f"{sizes}{', with the batch' if batched else ''}"
            )
        seen = (-1, *tensor.shape) if batched else tensor.shape
        sizes_seen = tuple(None if size < 0 else size for size in seen)
        narrowed.append(
            TensorFacts(fact.name, fact.element, sizes_seen, tensor.graph_shape, tensor.optional, fact.utf8)
        )
    return tuple(narrowed) or facts


def with_a_required_input(facts: GraphFacts) -> GraphFacts:
    """The same facts; if the graph has a default for every input, a request gives all of them."""
    if facts.required:
        return facts
    return replace(facts, inputs=tuple(replace(tensor, optional=False) for tensor in facts.inputs))


def without_batch(spec: ModelSpec) -> ModelSpec:
    """The contract of a graph whose first dimension is found not to be a batch: it is a dimension that varies.

    Raises:
        VersionRefused: clients see other shapes than the graph, which is possible for single instances only.
    """
    if any(tensor.graph_shape is not None for tensor in (*spec.inputs, *spec.outputs)):
        raise VersionRefused("instances influence one another, and a reshape is stated, which requires a batch")

    def whole(tensor: TensorSpec) -> TensorSpec:
        return TensorSpec(
            name=tensor.name,
            dtype=tensor.dtype,
            shape=(-1, *tensor.shape) if tensor.batched else tensor.shape,
            finite=tensor.finite,
            utf8=tensor.utf8,
            batched=False,
            optional=tensor.optional,
        )

    return ModelSpec(
        name=spec.name,
        inputs=tuple(map(whole, spec.inputs)),
        outputs=tuple(map(whole, spec.outputs)),
        batching=BatchingHints(max_batch_size=1),
        opset=spec.opset,
        trained_on=spec.trained_on,
    )


def _contract(
    name: str,
    facts: GraphFacts,
    hints: BatchingHints,
    *,
    batched: bool,
    labels: tuple[str, tuple[str, ...]] | None = None,
) -> ModelSpec:
    for kind, tensors in (("inputs", facts.required), ("outputs", facts.outputs)):
        if not 1 <= len(tensors) <= MOST_TENSORS:
            raise VersionRefused(f"the graph has {len(tensors)} {kind}; 1 to {MOST_TENSORS} are served")
    try:
        return ModelSpec(
            name=name,
            inputs=(
                *(_spec("input", tensor, batched=batched) for tensor in facts.required),
                *_offered(name, facts, batched=batched),
            ),
            outputs=tuple(_spec("output", tensor, batched=batched) for tensor in facts.outputs),
            postprocessing=None if labels is None else _classification(*labels),
            batching=hints,
            opset=1,
            trained_on=_NOT_KNOWN,
        )
    except ValidationError as error:
        raise VersionRefused(_why_not(name, error)) from error


def _why_not(name: str, error: ValidationError) -> str:
    if not is_model_name(name):
        return f"no model can be called {shown(name)!r}: {NAME_RULE}"
    return f"the graph does not make a contract: {_first(error)}"


def _first(error: ValidationError) -> str:
    return error.errors(include_url=False)[0]["msg"].removeprefix("Value error, ")


def _classification(output: str, labels: tuple[str, ...]) -> Classification:
    try:
        return Classification(output=output, labels=labels)
    except ValidationError as error:
        raise VersionRefused(
            f"label_filename of {shown(output)!r} has {len(labels)} labels; 2 to {MOST_LABELS} are accepted"
        ) from error


def _offered(name: str, facts: GraphFacts, *, batched: bool) -> list[TensorSpec]:
    """The optional inputs that clients may give; the graph takes its default for the others.

    Some exporters list all weights as inputs. A model serves all the same if these are too many or too large.
    """
    found = []
    for tensor in facts.inputs:
        if tensor.optional:
            try:
                has_batch = batched and _shape("input", tensor)[:1] == (None,)
                found.append(_spec("input", tensor, batched=has_batch))
            except VersionRefused as error:
                log.warning("model %s: an optional input is not offered: %s", name, error.message)
    if len(facts.required) + len(found) > MOST_TENSORS:
        log.warning(
            "model %s: its %d optional inputs are not offered: a model has at most %d inputs",
            name,
            len(found),
            MOST_TENSORS,
        )
        return []
    return found


def _spec(kind: str, tensor: TensorFacts, *, batched: bool) -> TensorSpec:
    if (dtype := _DTYPES.get(tensor.element)) is None:
        hint = ""
        if tensor.element.startswith("seq(map"):
            hint = "; export a scikit-learn classifier with options={'zipmap': False}, or zipmap=False of onnxmltools"
        raise VersionRefused(
            f"{kind} {shown(tensor.name)!r} is a {shown(tensor.element)}; "
            f"tensors of {', '.join(NAMES)} are served{hint}"
        )
    shape = tuple(-1 if size is None else size for size in _shape(kind, tensor))
    shape = shape[1:] if batched else shape
    try:
        return TensorSpec(
            name=tensor.name,
            dtype=dtype,
            shape=shape,
            finite=False,
            batched=batched,
            graph_shape=tensor.graph_shape,
            optional=tensor.optional,
            utf8=tensor.utf8,
        )
    except ValidationError as error:
        raise VersionRefused(f"{kind} {shown(tensor.name)!r} has the shape {shape}: {_first(error)}") from error


def _shape(kind: str, tensor: TensorFacts) -> tuple[int | None, ...]:
    """The shape; VersionRefused if the number of its dimensions is not known, or too large."""
    if tensor.shape is None:
        raise VersionRefused(
            f"{kind} {shown(tensor.name)!r} has an unknown number of dimensions; export the model with a shape for it, "
            "in which sizes may vary"
        )
    if len(tensor.shape) > MOST_DIMENSIONS + 1:
        raise VersionRefused(
            f"{kind} {shown(tensor.name)!r} has {len(tensor.shape)} dimensions; at most {MOST_DIMENSIONS} besides the "
            "batch are served"
        )
    return tensor.shape
