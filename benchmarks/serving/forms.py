"""One instance in each server's form: the request, and the probabilities in its reply."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

JSON = {"Content-Type": "application/json"}
BYTES = {"Content-Type": "application/octet-stream"}
HEADER_LENGTH = "Inference-Header-Content-Length"


@dataclass(frozen=True)
class Post:
    """One request."""

    path: str
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Form:
    """How to write requests and read replies.

    Attributes:
        write: instances, uint8 (rows, 28, 28) or a list of texts, to a request.
        read: body of the reply and its JSON length (None: all of it) to float (rows, classes); None if replies are
            constant.
    """

    write: Callable[[Any], Post]
    read: Callable[[bytes, int | None], Any] | None


def constant(path: str, form: Form) -> Form:
    """The body and headers of ``form``, for a server with a constant reply."""

    def write(instances: Any) -> Post:
        post = form.write(instances)
        return Post(path, post.body, post.headers)

    return Form(write, None)


def json_list(path: str, key: str, answer: str | None) -> Form:
    """``{key: [instance, ...]}``; the reply contains the rows under ``answer``, or is the rows."""
    return Form(
        lambda instances: Post(path, _dumps({key: _plain(instances)}), JSON),
        lambda body, _: np.array(json.loads(body)[answer] if answer else json.loads(body)),
    )


def json_single(path: str, key: str, answer: str) -> Form:
    """``{key: instance}``; the reply contains one row under ``answer``."""
    return Form(
        lambda instances: Post(path, _dumps({key: _plain(instances)[0]}), JSON),
        lambda body, _: np.array([json.loads(body)[answer]]),
    )


def raw(path: str, answer: str, *, rows: bool) -> Form:
    """The pixels as bytes; the reply is JSON with the ``rows``, or the single row, under ``answer``."""

    def read(body: bytes, _: int | None) -> Any:
        found = np.array(json.loads(body)[answer])
        return found if rows else found[np.newaxis]

    return Form(lambda instances: Post(path, np.asarray(instances).tobytes(), BYTES), read)


def picture(path: str, encode: Callable[[Any], bytes]) -> Form:
    """A picture file as the body; the reply is read by its labels, so only its presence is checked."""
    return Form(lambda instances: Post(path, encode(instances[0]), {"Content-Type": "image/png"}), None)


def closing(form: Form) -> Form:
    """A new connection for each request."""

    def write(instances: Any) -> Post:
        post = form.write(instances)
        return Post(post.path, post.body, {**post.headers, "Connection": "close"})

    return Form(write, form.read)


def in_turn(*forms: Form) -> Form:
    """Several forms: instances are (which of them, its instances). Their replies are read alike."""
    return Form(lambda given: forms[given[0]].write(given[1]), forms[0].read)


def v2_json(model: str) -> Form:
    """Open Inference Protocol, all JSON."""

    def write(instances: Any) -> Post:
        return Post(
            f"/v2/models/{model}/infer", _dumps({"inputs": [_tensor(instances) | {"data": _flat(instances)}]}), JSON
        )

    return Form(write, lambda body, _: _v2_rows(json.loads(body)["outputs"][0], b""))


def v2_binary(model: str) -> Form:
    """Open Inference Protocol with binary tensors both ways."""

    def write(instances: Any) -> Post:
        data = np.asarray(instances).tobytes()
        tensor = _tensor(instances) | {"parameters": {"binary_data_size": len(data)}}
        header = _dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}})
        return Post(f"/v2/models/{model}/infer", header + data, BYTES | {HEADER_LENGTH: str(len(header))})

    return Form(write, _read_v2_binary)


def v2_raw(model: str) -> Form:
    """Triton's shortest form: only the bytes of the single input; the reply is binary."""

    def write(instances: Any) -> Post:
        return Post(f"/v2/models/{model}/infer", np.asarray(instances).tobytes(), BYTES | {HEADER_LENGTH: "0"})

    return Form(write, _read_v2_binary)


def _read_v2_binary(body: bytes, json_length: int | None) -> Any:
    header = body if json_length is None else body[:json_length]
    return _v2_rows(json.loads(header)["outputs"][0], body[len(header) :])


def _v2_rows(output: dict[str, Any], data: bytes) -> Any:
    flat = np.frombuffer(data, "<f4") if data else np.array(output["data"])
    return flat.reshape(output["shape"])


def _tensor(instances: Any) -> dict[str, Any]:
    if isinstance(instances, list):
        return {"name": "text", "datatype": "BYTES", "shape": [len(instances), 1]}
    return {"name": "pixels", "datatype": "UINT8", "shape": list(instances.shape)}


def _flat(instances: Any) -> list[Any]:
    return instances if isinstance(instances, list) else instances.ravel().tolist()


def _plain(instances: Any) -> list[Any]:
    return instances if isinstance(instances, list) else instances.tolist()


def _dumps(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
