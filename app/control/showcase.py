"""What a page needs to know of every model to show it: inputs, classes, versions."""

from typing import Any

from app.contract.said import NOTHING_SAID
from app.contract.steps import ImagePreprocessing, NextToken, TextPreprocessing
from app.contract.tensor_spec import TensorSpec
from app.explain.of_model import is_explained
from app.lifecycle.registry import Registry
from app.lifecycle.versions import VersionRecord
from app.loaded import LoadedModel
from app.serving.generation import generates_text


def showcase(registry: Registry) -> list[dict[str, Any]]:
    """One entry for each model, by name.

    Returns:
        ``kind`` is how an instance is given: ``image`` (a file), ``text``, or ``tensors``; ``classes`` whether the
        model classifies; ``continues`` whether it writes texts; ``explains`` whether its answers are explained, and
        ``gradients`` whether also by gradients; ``serving`` the default version, None without one; ``canary`` the
        version beside it. A model that is not loaded has no inputs.
    """
    return [_model(registry, name) for name in registry.names()]


def _model(registry: Registry, name: str) -> dict[str, Any]:
    records = registry.records(name)
    default = registry.default(name)
    shown = default or next((record.model for record in records if record.model is not None), None)
    labels, rollout = registry.labels(name), registry.rollout(name)
    return {
        "name": name,
        "serving": None if default is None else default.version,
        "canary": None if rollout is None else rollout.canary.version,
        "versions": [
            _version(record, [label for label, number in labels.items() if number == record.version])
            for record in records
        ],
        **(_unknown() if shown is None else _contract(shown)),
    }


def _version(record: VersionRecord, labels: list[str]) -> dict[str, Any]:
    said = NOTHING_SAID if record.model is None else record.model.said
    return {
        "version": record.version,
        "state": record.state,
        "reason": record.reason,
        "labels": labels,
        "verified": "" if record.model is None else _verified(record.model),
        "measured": said.measured,
        "has_card": bool(said.card),
    }


def _verified(model: LoadedModel) -> str:
    """In words."""
    if model.unverified:
        return f"no: {model.unverified.removeprefix('unverified: ')}"
    if model.golden_difference is None:
        return "no golden samples"
    return f"yes, to {model.golden_difference:.1g}"


def _unknown() -> dict[str, Any]:
    return {
        "description": "",
        "kind": "tensors",
        "inputs": [],
        "classes": False,
        "continues": False,
        "explains": False,
        "gradients": False,
        "scheme": None,
    }


def _contract(model: LoadedModel) -> dict[str, Any]:
    step, spec = model.spec.preprocessing, model.spec
    is_text = isinstance(step, TextPreprocessing) and model.tokenizer is not None
    kind = "image" if isinstance(step, ImagePreprocessing) else "text" if is_text else "tensors"
    return {
        "description": spec.description,
        "kind": kind,
        "inputs": [_input(tensor) for tensor in spec.inputs],
        "classes": bool(model.classes) and not isinstance(spec.postprocessing, NextToken),
        "continues": generates_text(model),
        "explains": is_explained(model),
        "gradients": model.instances.all[0].backend.has_gradients,
        "scheme": step.scheme if isinstance(step, TextPreprocessing) else None,
    }


def _input(tensor: TensorSpec) -> dict[str, Any]:
    return {
        "name": tensor.name,
        "dtype": tensor.dtype,
        "datatype": tensor.oip_datatype,
        "shape": list(tensor.shape),
        "minimum": tensor.minimum,
        "maximum": tensor.maximum,
        "optional": tensor.optional,
    }
