"""Additions to FastAPI's OpenAPI document: bodies and errors of routes that FastAPI cannot derive itself."""

from typing import Any

from app.api.reply_schemas import SCHEMAS, named, reply_schema
from app.repository.version_directories import LARGEST_VERSION

ERROR: dict[str, Any] = {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}}
DESCRIPTIONS = {
    "400": "A value breaks a rule; the message names both",
    "401": "No valid API key; only if the service has API keys",
    "403": "Not allowed: another host or site, a key without the scope, or a route for administrators",
    "404": "No such model or version",
    "405": "The path requires another verb; see Allow",
    "409": "The right answer is known, and is not replaced",
    "413": "Body too large",
    "429": "Queue full, deadline out of reach, or the rate of the API key exceeded; see Retry-After",
    "500": "The model or the service failed; see the service's log",
    "501": "A part of the protocol that this service does not support",
    "503": "Model not ready, or the service is shutting down",
    "504": "Deadline passed while the request was decoded or waited",
}
VERSION_SCHEMA = {"type": "integer", "minimum": 0, "maximum": LARGEST_VERSION}
# No slash and no colon: they separate the parts of a path.
NAME_SCHEMA = {"type": "string", "minLength": 1, "pattern": "^[^/:]+$"}
# Most keys of a JSON object; ``contract.json_text`` refuses more.
_KEY_SCHEMA = {"pattern": "^[^\\u0000]*$"}
_REPOSITORY = "/v2/repository/"
_SHARED_MEMORY = ("/v2/systemsharedmemory", "/v2/cudasharedmemory")
_BYTES = {"type": "integer", "minimum": 0}
_REGION = {
    "type": "object",
    "required": ["key", "byte_size"],
    "properties": {
        "key": {"type": "string", "minLength": 1, "maxLength": 256},
        "byte_size": {**_BYTES, "minimum": 1},
        "offset": _BYTES,
    },
}
_FLAG = {"type": "boolean"}
_BODIES: dict[str, dict[str, Any]] = {
    "index": {"ready": {**_FLAG, "description": "Only versions that serve"}},
    "load": {"parameters": {"type": "object", "maxProperties": 0}},
    "unload": {
        "parameters": {"type": "object", "properties": {"unload_dependents": _FLAG}, "additionalProperties": False}
    },
    "promote": {"version": VERSION_SCHEMA},
    "rollback": {},
}
_CLOSED = {"promote": ["version"], "rollback": []}  # routes that accept no other key, and the keys that they require


_FEEDBACK: dict[str, Any] = {
    "type": "object",
    "required": ["request_id"],
    "oneOf": [{"required": ["label"]}, {"required": ["value"]}],
    "properties": {
        "request_id": {
            "type": "string",
            "minLength": 1,
            "maxLength": 128,
            "description": "X-Request-ID of the reply that was wrong, or right",
        },
        "instance": {
            "type": "integer",
            "minimum": 0,
            "description": "Index of the instance; required if the request had several",
        },
        "label": {"type": "string", "description": "The right label, if the model classifies"},
        "value": {"description": "The right numbers of any other model; of several outputs by name"},
    },
    "propertyNames": _KEY_SCHEMA,
    "additionalProperties": False,
}


def errors(*codes: str) -> dict[str, Any]:
    """The responses with these codes."""
    return {code: {"description": DESCRIPTIONS[code], **ERROR} for code in codes}


def complete(document: dict[str, Any]) -> None:
    """Add bodies and errors to FastAPI's routes; a value that breaks a rule is answered with 400 and never 422."""
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    schemas.update(SCHEMAS)
    for path, verbs in document.setdefault("paths", {}).items():
        for verb, operation in verbs.items():
            _complete(path, operation)
            if (name := reply_schema(path, verb)) is not None:
                operation["responses"]["200"]["content"] = {"application/json": {"schema": named(name)}}
            operation["responses"].update(errors("405"))


def _complete(path: str, operation: dict[str, Any]) -> None:
    responses = operation["responses"]
    responses.pop("422", None)
    for parameter in operation.get("parameters", []):
        parameter["schema"] = dict(VERSION_SCHEMA if parameter["name"] == "version" else NAME_SCHEMA)
    if "{version}" in path:
        responses.update(errors("400"))
    if "{name}" in path:
        responses.update(errors("404", "503"))
    if "503" in responses:
        responses["503"].update(ERROR)
    verb = path.rpartition("/")[2]
    if path.startswith(_REPOSITORY) and verb in _BODIES:
        operation["requestBody"] = {
            "required": bool(_CLOSED.get(verb)),
            "content": {"application/json": {"schema": _body(verb)}},
        }
        responses.update(errors("400", "413"))
        if verb != "index":
            responses.update(errors("403", "500"))
        if verb == "load":
            responses.update(errors("501"))
            responses["200"] = {"description": "Loaded; no body"}
        if verb == "unload":
            responses["200"] = {"description": "Unloaded; no body"}
    if path.startswith(_SHARED_MEMORY):
        responses.update(errors("400", "403", "404", "413", "501"))
        if verb in {"register", "unregister"}:
            responses["200"] = {"description": "Done; no body"}
        if verb == "register":
            form = {"schema": _REGION if "system" in path else {"type": "object"}}
            operation["requestBody"] = {"required": True, "content": {"application/json": form}}
    if path.endswith(":feedback"):
        example = {"request_id": "5f0c2a9e1b44-1f", "label": "Sandal"}
        content = {"application/json": {"schema": _FEEDBACK, "example": example}}
        operation["requestBody"] = {"required": True, "content": content}
        responses.update(errors("400", "401", "403", "409", "413", "429"))
    if path == "/metrics":
        form = {"schema": {"type": "string"}}
        responses["200"]["content"] = {"text/plain": form, "application/openmetrics-text": form}


def _body(verb: str) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "object", "properties": _BODIES[verb], "propertyNames": _KEY_SCHEMA}
    if verb in _CLOSED:
        schema |= {"required": _CLOSED[verb], "additionalProperties": False}
    return schema
