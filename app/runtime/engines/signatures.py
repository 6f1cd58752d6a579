"""Signatures of a SavedModel: as its process reports them, and which contracts match them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from app.contract.graph_facts import GraphFacts, TensorFacts
from app.contract.model_spec import ModelSpec
from app.contract.tensor_spec import TensorSpec
from app.errors import BackendFailed, VersionRefused
from app.runtime.backend import row_count
from app.types import Tensors


def facts_of(signature: dict[str, Any]) -> GraphFacts:
    """A signature as the process reports it; see ``savedmodel_worker.load`` and ``plugin_worker.load``."""
    return GraphFacts(
        *(
            tuple(
                TensorFacts(
                    name,
                    element,
                    None if sizes is None else tuple(sizes),
                    optional=kind == "inputs" and name in signature.get("defaults", {}),
                    default=signature.get("defaults", {}).get(name) if kind == "inputs" else None,
                    utf8=kind == "inputs" and name in signature.get("utf8", ()),
                )
                for name, (element, sizes) in signature[kind].items()
            )
            for kind in ("inputs", "outputs")
        )
    )


def check_inputs(spec: ModelSpec, inputs: Tensors) -> None:
    """Refuse inputs that break the contract: some kernels of TensorFlow abort the process on a wrong rank."""
    known = {tensor.name: tensor for tensor in spec.inputs}
    required = spec.required_names
    if not required <= inputs.keys() <= known.keys():
        raise BackendFailed(f"the inputs are {sorted(inputs)}; the signature requires {sorted(required)}")
    rows = row_count(inputs) if all(values.ndim for values in inputs.values()) else -1
    for name, values in inputs.items():
        tensor = known[name]
        fits = values.ndim == len(tensor.shape) + 1 and (spec.batched or rows == 1)
        fits = fits and (len(values) == rows or name in spec.whole)
        fits = fits and all(want in {-1, got} for want, got in zip(tensor.shape, values.shape[1:], strict=True))
        if not fits or values.dtype != tensor.numpy_dtype:
            raise BackendFailed(
                f"input {tensor.name!r} is {values.dtype.name} of shape {list(values.shape)}; the signature requires "
                f"{tensor.dtype} of shape {list(tensor.batch_shape)}, and the same batch in every input"
            )


def agree(path: Path, kind: str, expected: Sequence[TensorSpec], facts: Sequence[TensorFacts]) -> None:
    """Refuse a contract that does not fit the tensors of a signature."""
    contract = {tensor.name: (tensor.dtype, tensor.graph_rank) for tensor in expected}
    found = {fact.name: (fact.element, -1 if fact.shape is None else len(fact.shape)) for fact in facts}
    # A contract may leave out outputs, which are not answered then, and inputs with defaults.
    needed = {fact.name for fact in facts if kind == "input" and not fact.optional}
    if not needed <= contract.keys() or not contract.items() <= found.items():
        raise VersionRefused(f"{path}: the signature's {kind}s are {found}, model.json says {contract}")
