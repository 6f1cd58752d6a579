"""Schemas of the replies in the OpenAPI document, so that generated clients know their members."""

from typing import Any

Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}
NUMBER: Schema = {"type": "number"}
WHOLE: Schema = {"type": "integer"}
FLAG: Schema = {"type": "boolean"}
ANY: Schema = {}


def many(items: Schema) -> Schema:
    """An array."""
    return {"type": "array", "items": items}


def by_name(values: Schema) -> Schema:
    """An object with any keys."""
    return {"type": "object", "additionalProperties": values}


def members(optional: dict[str, Schema] | None = None, /, **required: Schema) -> Schema:
    """An object with these members, and perhaps others."""
    return {"type": "object", "required": list(required), "properties": {**required, **(optional or {})}}


def named(name: str) -> Schema:
    """A reference to one of ``SCHEMAS``."""
    return {"$ref": f"#/components/schemas/{name}"}


_PERHAPS_OBJECT: Schema = {"type": ["object", "null"]}
_TENSOR = members(name=TEXT, datatype=TEXT, shape=many(WHOLE))
_STATUS = members(version=TEXT, state=TEXT, status=members(error_code=TEXT, error_message=TEXT))

SCHEMAS: dict[str, Schema] = {
    "Error": members(error={**TEXT, "description": "The value and the rule that it breaks"}),
    "ModelNames": members(models=many(TEXT)),
    "ModelStatus": members({"name": TEXT, "ready": FLAG}, model_version_status=many(_STATUS)),
    "SignatureMetadata": members(
        model_spec=members(name=TEXT, signature_name=TEXT, version=TEXT), metadata=by_name(ANY)
    ),
    "ServerMetadata": members(name=TEXT, version=TEXT, extensions=many(TEXT)),
    "ModelMetadata": members(
        name=TEXT, versions=many(TEXT), platform=TEXT, inputs=many(_TENSOR), outputs=many(_TENSOR)
    ),
    "ModelReady": members(name=TEXT, ready=FLAG),
    "ModelConfig": members(
        name=TEXT,
        platform=TEXT,
        backend=TEXT,
        max_batch_size=WHOLE,
        input=many(by_name(ANY)),
        output=many(by_name(ANY)),
    ),
    "ModelStatistics": members(
        model_stats=many(
            members(name=TEXT, version=TEXT, inference_count=WHOLE, execution_count=WHOLE, inference_stats=by_name(ANY))
        )
    ),
    "Devices": members(
        devices=many(members(name=TEXT, description=TEXT, used=FLAG, reason=TEXT)), models=many(by_name(ANY))
    ),
    "CanaryComparison": members(model=TEXT, stable=TEXT, canary=TEXT, state=TEXT, reason=TEXT),
    "RepositoryIndex": many(members({"reason": TEXT}, name=TEXT, version=TEXT, state=TEXT)),
    "ModelVersions": members(
        name=TEXT,
        serving={"type": ["integer", "null"]},
        labels=by_name(WHOLE),
        versions=many(members(version=WHOLE, state=TEXT, reason=TEXT)),
    ),
    "SharedMemoryRegions": many(members(name=TEXT, key=TEXT, offset=WHOLE, byte_size=WHOLE)),
    "PredictRequest": members({"instances": many(ANY), "inputs": ANY, "signature_name": TEXT}),
    "PredictReply": members({"predictions": many(ANY), "outputs": ANY}),
    "ExplainRequest": members(
        {
            "instances": many(ANY),
            "inputs": ANY,
            "method": {**TEXT, "enum": ["occlusion", "shapley", "gradients"]},
            "class": ANY,
            "samples": WHOLE,
            "seed": WHOLE,
            "grid": WHOLE,
        }
    ),
    "ExplainReply": members(model_name=TEXT, model_version=TEXT, explanations=many(by_name(ANY))),
    "ExamplesRequest": members({"context": _PERHAPS_OBJECT, "signature_name": TEXT}, examples=many(ANY)),
    "ClassifyReply": members(results=many(many(many(ANY)))),
    "RegressReply": members(results=many(NUMBER)),
    "InferRequest": members(
        {
            "id": {"type": ["string", "null"]},
            "parameters": _PERHAPS_OBJECT,
            "outputs": {**many(members({"parameters": _PERHAPS_OBJECT}, name=TEXT)), "type": ["array", "null"]},
        },
        inputs=many(members({"parameters": _PERHAPS_OBJECT, "data": ANY}, name=TEXT, datatype=TEXT, shape=many(WHOLE))),
    ),
    "InferReply": members(
        {"id": TEXT},
        model_name=TEXT,
        model_version=TEXT,
        outputs=many(
            members({"parameters": by_name(ANY), "data": many(ANY)}, name=TEXT, datatype=TEXT, shape=many(WHOLE))
        ),
    ),
    "GenerateRequest": members(
        {"text_input": ANY, "parameters": _PERHAPS_OBJECT, "id": {"type": ["string", "integer", "null"]}}
    ),
    "GenerateReply": members({"text_output": TEXT, "id": TEXT}, model_name=TEXT, model_version=TEXT),
}

# The end of a path -> the schema of the reply to GET there; the first that matches.
_GET = {
    "/v1/models": "ModelNames",
    "/v2/models": "ModelNames",
    "/v2/devices": "Devices",
    "/v2": "ServerMetadata",
    "/v2/repository/models/{name}": "ModelVersions",
    "/metadata": "SignatureMetadata",
    "/stats": "ModelStatistics",
    "/shadow": "CanaryComparison",
    "{name}/ready": "ModelReady",
    "{version}/ready": "ModelReady",
    "/config": "ModelConfig",
    "systemsharedmemory/status": "SharedMemoryRegions",
    "{region}/status": "SharedMemoryRegions",
    "cudasharedmemory/status": "SharedMemoryRegions",
}


def reply_schema(path: str, verb: str) -> str | None:
    """Name of the schema of the reply of one of FastAPI's routes; None if FastAPI derives it, or there is no body."""
    if verb == "post":
        return "RepositoryIndex" if path == "/v2/repository/index" else None
    if path.startswith("/v1/models/") and not path.endswith("/metadata"):
        return "ModelStatus"
    exact = _GET.get(path)
    if exact is not None:
        return exact
    found = next((name for end, name in _GET.items() if path.endswith(end)), None)
    if found is None and path.startswith("/v2/models/"):
        return "ModelMetadata"
    return found
