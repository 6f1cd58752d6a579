"""The inference routes in the OpenAPI document. They bypass FastAPI, so they are described here."""

from typing import Any

from app.api.common_errors import NAME_SCHEMA, VERSION_SCHEMA, complete, errors
from app.api.reply_schemas import named

_ERRORS = errors("400", "401", "403", "404", "405", "413", "429", "500", "501", "503", "504")
_IMAGE = {"schema": {"type": "string", "format": "binary", "description": "PNG, JPEG, GIF, BMP, WebP or TIFF"}}
_TEXT = {"schema": {"type": "string"}, "example": "A wonderful film, moving and funny from start to finish."}
_FORM = {
    "schema": {"type": "object", "additionalProperties": {"type": "string", "format": "binary"}},
}
_TENSOR = {
    "schema": {
        "type": "string",
        "format": "binary",
        "description": "One or more rows of the single fixed-shape input, little-endian, one after the other",
    }
}
_PREDICT_EXAMPLES = {
    "row": {
        "summary": "Row format: one token-id list per text",
        "value": {"instances": [[2, 3, 4]]},
    },
    "text": {"summary": "Row format: texts", "value": {"instances": ["A wonderful film.", "Dull and far too long."]}},
    "columnar": {"summary": "Columnar format: tensors by name", "value": {"inputs": {"token_ids": [[2, 3, 4]]}}},
    "image": {"summary": "Row format: encoded images", "value": {"instances": [{"b64": "iVBORw0KGgo..."}]}},
}
_CLASSIFY_EXAMPLES = {
    "text": {"summary": "Texts", "value": {"examples": [{"text": "A wonderful film."}]}},
    "image": {"summary": "Encoded images", "value": {"examples": [{"image": {"b64": "iVBORw0KGgo..."}}]}},
}
_EXPLAIN_EXAMPLES = {
    "text": {"summary": "Texts", "value": {"instances": ["not a good film"], "method": "shapley", "samples": 20}}
}
_EXPLAINED = {
    "model_name": "imdb-sentiment-lstm",
    "model_version": "2",
    "explanations": [{"method": "shapley", "value": 0.52, "tokens": [{"text": "good", "score": 0.04}]}],
}
_EXPLAIN_OPTIONS = [
    {"name": name, "in": "query", "required": False, "schema": {"type": "string"}, "description": text}
    for name, text in (
        ("method", "occlusion, shapley or gradients"),
        ("class", "label or index; without it the best class"),
        ("samples", "orders that shapley samples, an even number"),
        ("seed", "of its random numbers"),
        ("grid", "regions along the longer side of an image"),
    )
]
# The first sections of the page /docs.
_FIRST_TAGS = ("inference", "models", "health")
_REGRESS_EXAMPLES = {"numbers": {"summary": "Numbers by input", "value": {"examples": [{"x": [10.0]}]}}}
_INFER_EXAMPLES = {
    "text": {
        "summary": "Texts",
        "value": {
            "inputs": [{"name": "token_ids", "datatype": "BYTES", "shape": [1], "data": ["A wonderful film."]}],
            "outputs": [{"name": "probabilities", "parameters": {"classification": 1}}],
        },
    },
    "ids": {
        "summary": "A tensor",
        "value": {"inputs": [{"name": "token_ids", "datatype": "INT32", "shape": [1, 3], "data": [2, 3, 4]}]},
    },
}
_INFERRED = {
    "model_name": "imdb-sentiment-lstm",
    "model_version": "2",
    "outputs": [{"name": "probabilities", "datatype": "BYTES", "shape": [1, 1], "data": ["0.98:1:positive"]}],
}
_GENERATE_EXAMPLE = {"text_input": "My lord,", "max_tokens": 20, "temperature": 0.8, "seed": 1}
_TEXT_OUTPUT = {"model_name": "shakespeare-next-word-lstm", "model_version": "2", "text_output": " I have"}
_EVENT = {
    "type": "object",
    "required": ["data"],
    "properties": {"data": {"type": "string", "description": "One piece of the text, in the form of a generate reply"}},
}
_GENERATED: dict[str, dict[str, Any]] = {
    "generate": {"application/json": {"schema": named("GenerateReply"), "example": _TEXT_OUTPUT}},
    "generate_stream": {"text/event-stream": {"schema": _EVENT}},
}
_NAME = {
    "name": "name",
    "in": "path",
    "required": True,
    "schema": NAME_SCHEMA,
    "description": "Model, as listed by GET /v1/models",
}
_VERSION = {
    "name": "version",
    "in": "path",
    "required": True,
    "schema": VERSION_SCHEMA,
    "description": "Version of the model; without it the default version answers",
}
_TOP_K = {
    "name": "top_k",
    "in": "query",
    "schema": {"type": "integer", "minimum": 1, "default": 10},
    "description": "Most labels per instance; a number above that of the labels gets all of them",
}
_LABEL = {
    "name": "label",
    "in": "path",
    "required": True,
    "schema": NAME_SCHEMA,
    "description": "Label of a version, from version_labels in serving.json",
}
_JSON_LENGTH = {
    "name": "Inference-Header-Content-Length",
    "in": "header",
    "schema": {"type": "integer", "minimum": 0},
    "description": "Bytes of the JSON in front of binary tensors; 0: the body is the bytes of one instance",
}
_REQUEST_ID = {
    "name": "X-Request-ID",
    "in": "header",
    "schema": {"type": "string"},
    "description": "Returned with the reply, and in the logs, if it is 1 to 128 printable ASCII characters; otherwise "
    "the service makes one up",
}
_INFER = {
    "tags": ["inference"],
    "summary": "Outputs of the model as named tensors",
    "description": "Open Inference Protocol's infer, with Triton's extensions: binary tensors, classification, "
    "priority and timeout. The parameter signature_name chooses a signature of a SavedModel. A text model's input also "
    "accepts texts as BYTES, an image model's input encoded images.",
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": named("InferRequest"), "examples": _INFER_EXAMPLES},
            "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
        },
    },
    "responses": {
        "200": {
            "description": "One row per instance",
            "content": {
                "application/json": {"schema": named("InferReply"), "example": _INFERRED},
                "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
            },
        }
    }
    | _ERRORS,
}


def add_inference_routes(document: dict[str, Any]) -> dict[str, Any]:
    """Complete FastAPI's OpenAPI document, and add the inference routes to it, in place."""
    complete(document)
    predict = _operation(
        "Outputs of the model",
        "TensorFlow Serving's predict: `instances` (row) or `inputs` (columnar). Texts may be sent as strings and "
        'images as `{"b64": ...}`. Images, text, forms and raw tensors are accepted as the body, too.',
        ("PredictRequest", _PREDICT_EXAMPLES),
        ("PredictReply", {"predictions": [[0.02, 0.98]]}),
    )
    classify = _operation(
        "Labels with their probabilities, best first",
        "TensorFlow Serving's classify. An image, a text or a form with files is accepted as the body, too.",
        ("ExamplesRequest", _CLASSIFY_EXAMPLES),
        ("ClassifyReply", {"results": [[["positive", 0.98], ["negative", 0.02]]]}),
    )
    regress = _operation(
        "One number per example",
        "TensorFlow Serving's regress, for models with one output that holds one number per instance.",
        ("ExamplesRequest", _REGRESS_EXAMPLES),
        ("RegressReply", {"results": [18.98]}),
    )
    explain = _operation(
        "Which parts of an input speak for the answer",
        "KServe's explain: regions, tokens or columns with their scores, by occlusion, Shapley values or "
        "integrated gradients. Inputs as for predict. With `Accept: image/png` a heat map of one image.",
        ("ExplainRequest", _EXPLAIN_EXAMPLES),
        ("ExplainReply", _EXPLAINED),
    )
    document["tags"] = [{"name": name} for name in _FIRST_TAGS]
    paths = document.setdefault("paths", {})
    for prefix, parameters in (
        ("/v1/models/{name}", [_NAME]),
        ("/v1/models/{name}/versions/{version}", [_NAME, _VERSION]),
        ("/v1/models/{name}/labels/{label}", [_NAME, _LABEL]),
    ):
        which = _which(prefix)
        paths[f"{prefix}:predict"] = _post(f"predict{which}", predict, parameters)
        paths[f"{prefix}:classify"] = _post(f"classify{which}", classify, [*parameters, _TOP_K])
        paths[f"{prefix}:explain"] = _post(f"explain{which}", explain, [*parameters, *_EXPLAIN_OPTIONS])
        paths[f"{prefix}:regress"] = _post(f"regress{which}", regress, parameters)
    for prefix, parameters in (
        ("/v2/models/{name}", [_NAME]),
        ("/v2/models/{name}/versions/{version}", [_NAME, _VERSION]),
    ):
        for verb, reply in _GENERATED.items():
            paths[f"{prefix}/{verb}"] = _post(f"{verb}{_which(prefix)}", _generate(verb, reply), parameters)
        paths[f"{prefix}/infer"] = _post(f"infer{_which(prefix)}", _INFER, [*parameters, _JSON_LENGTH])
    return document


def _which(prefix: str) -> str:
    """The end of an operation's id, by the last parameter of its path."""
    return next((end for end in ("_version", "_label") if prefix.endswith(f"{{{end[1:]}}}")), "")


def _post(operation_id: str, operation: dict[str, Any], parameters: list[dict[str, Any]]) -> dict[str, Any]:
    return {"post": {"operationId": operation_id, **operation, "parameters": [*parameters, _REQUEST_ID]}}


def _generate(verb: str, reply: dict[str, Any]) -> dict[str, Any]:
    return {
        "tags": ["inference"],
        "summary": "Generate text" + (" and stream it as server-sent events" if "stream" in verb else ""),
        "description": "Triton's generate extension. For models that predict the next token: parameters max_tokens, "
        "temperature, top_k, seed, stop, priority, timeout (microseconds), at the top level or in `parameters`. For "
        "other models: one instance, by the names of the inputs; the reply holds the outputs by name.",
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": named("GenerateRequest"), "example": _GENERATE_EXAMPLE}},
        },
        "responses": {"200": {"description": "Text", "content": reply}} | _ERRORS,
    }


def _operation(
    summary: str, text: str, request: tuple[str, dict[str, Any]], reply: tuple[str, dict[str, Any]]
) -> dict[str, Any]:
    """An inference route; request and reply are names of schemas, with examples."""
    (asked, examples), (answered, example) = request, reply
    content = {
        "application/json": {"schema": named(asked), "examples": examples},
        "image/*": _IMAGE,
        "text/plain": _TEXT,
        "multipart/form-data": _FORM,
        "application/octet-stream": _TENSOR,
    }
    return {
        "tags": ["inference"],
        "summary": summary,
        "description": text,
        "requestBody": {"required": True, "content": content},
        "responses": {
            "200": {
                "description": "One answer per instance",
                "content": {"application/json": {"schema": named(answered), "example": example}},
            }
        }
        | _ERRORS,
    }
