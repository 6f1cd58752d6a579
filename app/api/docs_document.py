"""The OpenAPI document that /docs shows: that of the service, with the models that serve now and requests they answer.

A client that is generated from the document must not know these models alone: /openapi.json does not list them.
"""

from copy import deepcopy
from typing import Any

from app.control.sample_requests import Body, sample_requests
from app.lifecycle.registry import Registry

_MODELS = ("/v1/models/{name}", "/v2/models/{name}")
_FILE = {
    "type": "object",
    "properties": {"file": {"type": "array", "items": {"type": "string", "format": "binary"}}},
}


def with_models(document: dict[str, Any], registry: Registry) -> dict[str, Any]:
    """A copy in which the models are an enumeration wherever a path names one, and examples are theirs.

    Args:
        document: of ``add_inference_routes``; not changed.
        registry: of the models.
    """
    shown = deepcopy(document)
    serving = {name: model for name in registry.names() if (model := registry.default(name)) is not None}
    samples = {name: sample_requests(model) for name, model in serving.items()}
    for path, operations in shown["paths"].items():
        if not path.startswith(_MODELS):
            continue
        verb = path.rpartition("/")[2].rpartition(":")[2]
        for operation in operations.values():
            is_inference = "inference" in operation.get("tags", ())
            fitting = {name: sample[verb] for name, sample in samples.items() if verb in sample}
            _enumerate(operation, sorted(fitting if is_inference and fitting else serving))
            if is_inference and fitting:
                _exemplify(operation["requestBody"]["content"], fitting)
    return shown


def _enumerate(operation: dict[str, Any], names: list[str]) -> None:
    if not names:
        return
    choice = {"schema": {"type": "string", "enum": names}}  # operations share their parameters
    operation["parameters"] = [
        {**each, **choice} if (each["name"], each["in"]) == ("name", "path") else each
        for each in operation.get("parameters", [])
    ]


def _exemplify(content: dict[str, Any], bodies: dict[str, Body]) -> None:
    examples = {name: {"summary": f"For {name}", "value": bodies[name]} for name in sorted(bodies)}
    content["application/json"] = {"schema": content["application/json"]["schema"], "examples": examples}
    if "multipart/form-data" in content:
        content["multipart/form-data"] = {"schema": _FILE}
