"""Scores with a running service over its V1 protocol; connections are kept, and an error affects one row only."""

import asyncio
import base64
import http.client
import json
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any
from urllib.parse import quote, urlsplit

import numpy as np
import orjson

from app.contract.dtypes import NAMES
from app.contract.files.regular import shown
from app.contract.tensor_spec import TensorSpec
from app.control.model_config import NAN_INPUTS
from app.errors import InvalidInput, ServingError
from app.scoring.answers import Columns, alone, class_columns, classified, column_of, output_columns
from app.scoring.rows import CannotScore, Media, Takes, Value, nested

CONNECTIONS = 4
REQUEST_ROWS = 32
REQUEST_BYTES = 4 * 2**20
TIMEOUT_S = 120.0
# A request that the service cannot take now is sent again, after the seconds that it states.
ATTEMPTS, LONGEST_PAUSE_S = 8, 10.0
REPLY_LIMIT_BYTES = 256 * 2**20
_BUSY = frozenset({429, 503})
# Answers that do not depend on the rows: they end the run, which can be continued.
_NOT_THE_ROWS = _BUSY | {401, 403, 404, 502}
_NO_CLASSES = "does not classify"
_DTYPES = {names.oip: dtype for dtype, names in NAMES.items()}

Json = Any


class RemoteScorer:
    """Answers chunks of instances with a service.

    Args:
        url: http://HOST:PORT or https://..., with a path of a proxy if there is one.
        model: its name.
        version: None takes the default version.
        top_k: labels of one row.
        api_key: sent as a bearer token.
    """

    chunk_rows = CONNECTIONS * REQUEST_ROWS

    def __init__(self, url: str, model: str, version: int | None, *, top_k: int, api_key: str | None) -> None:
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise CannotScore(f"--url is {url!r}; expected http://HOST:PORT")
        self._parts, self._top_k = parts, top_k
        self._headers = {"Content-Type": "application/json"}
        if api_key:
            self._headers["Authorization"] = f"Bearer {api_key}"
        at = f"/versions/{version}" if version is not None else ""
        self._model, self._path = model, f"{parts.path.rstrip('/')}/v1/models/{quote(model, safe='')}{at}"
        self._metadata_path = f"{parts.path.rstrip('/')}/v2/models/{quote(model, safe='')}{at}"
        self.version = version
        self._pool = ThreadPoolExecutor(CONNECTIONS)
        self._idle: list[http.client.HTTPConnection] = []
        self._outputs: tuple[TensorSpec, ...] = ()
        self.columns: Columns = {}
        self.takes = Takes(shapes={}, strings=frozenset(), gaps=frozenset(), media=None)
        self._classifies = False

    def open(self) -> None:
        """Query the inputs and answers of the model; blocks.

        Raises:
            CannotScore: the service does not answer, or has no such model.
        """
        status, document = self._ask("GET", self._metadata_path, b"")
        if status != 200:
            raise CannotScore(f"{self._parts.geturl()}: {_message(document, status)}")
        status, config = self._ask("GET", f"{self._metadata_path}/config", b"")
        described = config.get("input", []) if status == 200 else []
        optional = {each["name"] for each in described if each.get("optional")}  # they keep their defaults
        inputs = [_spec(tensor) for tensor in document["inputs"] if tensor["name"] not in optional]
        self._outputs = tuple(_spec(tensor) for tensor in document["outputs"])
        self.takes = Takes(
            shapes={tensor.name: tensor.shape for tensor in inputs},
            strings=frozenset(tensor.name for tensor in inputs if tensor.is_string),
            gaps=_gaps(config),
            media=_media(inputs),
        )
        # An example that no model accepts: a classifier refuses it with another message than other models.
        status, document = self._ask("POST", f"{self._path}:classify", orjson.dumps({"examples": [{}]}))
        self._classifies = not (status == 400 and _NO_CLASSES in _message(document, status))
        self.columns = class_columns(self._top_k) if self._classifies else output_columns(self._outputs)

    def close(self) -> None:
        """Close the connections."""
        self._pool.shutdown(cancel_futures=True)
        for connection in self._idle:
            connection.close()

    def decode(self, value: Value) -> Json:
        """An instance as V1 JSON."""
        if self.takes.media == "string" and isinstance(value, bytes | str):
            [(name, shape)] = self.takes.shapes.items()
            value = {name: nested(value, shape)}
        if isinstance(value, bytes | str):
            return _plain(value)
        named = {name: _plain(values) for name, values in value.items()}
        return named if self._classifies or len(named) > 1 else next(iter(named.values()))

    async def score(self, instances: Sequence[Json]) -> list[dict[str, Any] | ServingError]:
        """The answers by column, or the error, of each instance."""
        loop = asyncio.get_running_loop()
        calls = [loop.run_in_executor(self._pool, self._answers, part) for part in _parts_of(instances)]
        return [answer for part in await asyncio.gather(*calls) for answer in part]

    def _answers(self, instances: Sequence[Json]) -> list[dict[str, Any] | ServingError]:
        """One request; if it is refused, its halves, down to one row."""
        verb, key = (f"classify?top_k={self._top_k}", "examples") if self._classifies else ("predict", "instances")
        status, document = self._ask("POST", f"{self._path}:{verb}", self._body({key: list(instances)}))
        if status == 200:
            return self._printed(document, len(instances))
        if status in _NOT_THE_ROWS:
            raise CannotScore(f"{self._parts.geturl()}: {_message(document, status)}")
        if len(instances) == 1:
            return [InvalidInput(_message(document, status))]
        half = len(instances) // 2
        return [*self._answers(instances[:half]), *self._answers(instances[half:])]

    def _body(self, document: Json) -> bytes:
        """As JSON; orjson would write NaN as null."""
        return json.dumps(document).encode() if self.takes.gaps else orjson.dumps(document)

    def _printed(self, document: Json, rows: int) -> list[dict[str, Any] | ServingError]:
        answers = document.get("results" if self._classifies else "predictions") if isinstance(document, dict) else None
        if not isinstance(answers, list) or len(answers) != rows:
            raise CannotScore(f"{self._parts.geturl()} does not answer like a model: {str(document)[:200]}")
        if self._classifies:
            return [classified(ranked, self.columns) for ranked in answers]
        if len(self._outputs) == 1:
            answers = [{self._outputs[0].name: answer} for answer in answers]
        named = [{column_of(name): value for name, value in answer.items()} for answer in answers]
        return [{name: alone(value, self.columns[name]) for name, value in answer.items()} for answer in named]

    def _ask(self, method: str, path: str, body: bytes) -> tuple[int, Json]:
        """Status and document of one request, sent again while the service is busy."""
        for attempt in range(ATTEMPTS):
            status, headers, data = self._send(method, path, body)
            if status not in _BUSY or attempt == ATTEMPTS - 1:
                break
            time.sleep(min(LONGEST_PAUSE_S, _seconds(headers.get("retry-after"))))
        return status, _read(data)

    def _send(self, method: str, path: str, body: bytes) -> tuple[int, Mapping[str, str], bytes]:
        """One request on a kept connection; one that the service has closed is replaced once."""
        while True:
            kept = self._idle.pop() if self._idle else None
            connection = kept or self._connection()
            try:
                connection.request(method, path, body or None, self._headers)
                reply = connection.getresponse()
                data = reply.read(REPLY_LIMIT_BYTES)
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                if kept is None:
                    is_other = isinstance(error, http.client.BadStatusLine) and not isinstance(error, ConnectionError)
                    how = " in HTTP" if is_other else ""
                    raise CannotScore(f"{self._parts.geturl()} does not answer{how}: {shown(str(error))}") from error
                continue
            headers = {name.lower(): value for name, value in reply.getheaders()}
            if reply.will_close or len(data) == REPLY_LIMIT_BYTES:
                connection.close()
            else:
                self._idle.append(connection)
            return reply.status, headers, data

    def _connection(self) -> http.client.HTTPConnection:
        kind = http.client.HTTPSConnection if self._parts.scheme == "https" else http.client.HTTPConnection
        return kind(self._parts.hostname or "", self._parts.port, timeout=TIMEOUT_S)


def _parts_of(instances: Sequence[Json]) -> list[Sequence[Json]]:
    """Requests of limited rows and bytes."""
    parts: list[list[Json]] = []
    size = 0
    for each in instances:
        nbytes = len(orjson.dumps(each))
        if not parts or len(parts[-1]) == REQUEST_ROWS or size + nbytes > REQUEST_BYTES:
            parts.append([])
            size = 0
        parts[-1].append(each)
        size += nbytes
    return list(parts)


def _spec(tensor: Mapping[str, Any]) -> TensorSpec:
    return TensorSpec(name=tensor["name"], dtype=_DTYPES[tensor["datatype"]], shape=tuple(tensor["shape"][1:]))


def _gaps(config: Json) -> frozenset[str]:
    """The inputs that accept NaN, as the configuration of the model says."""
    stated = config.get("parameters", {}).get(NAN_INPUTS, {}).get("string_value", "[]")
    return frozenset(orjson.loads(stated))


def _read(data: bytes) -> Json:
    """A document; empty if it is none. Only the standard library reads NaN, which an answer may hold."""
    for read in (orjson.loads, json.loads):
        with suppress(ValueError, RecursionError):
            return read(data)
    return {}


def _media(inputs: Sequence[TensorSpec]) -> Media | None:
    """The media that a model of one input accepts besides tensors, derived from that input."""
    if len(inputs) != 1:
        return None
    [only] = inputs
    if only.is_string:
        return "string" if all(size in {1, -1} for size in only.shape) else None
    if only.dtype == "uint8" and (len(only.shape) == 2 or (len(only.shape) == 3 and only.shape[2] == 3)):
        return "image"
    return "text" if only.dtype == "int32" and only.shape == (-1,) else None


def _plain(values: Any) -> Json:
    """Numbers and texts as JSON; bytes of strings as base64."""
    if isinstance(values, np.ndarray | np.generic):
        values = values.tolist()
    if isinstance(values, bytes):
        return {"b64": base64.b64encode(values).decode()}
    return [_plain(each) for each in values] if isinstance(values, list) else values


def _message(document: Json, status: int) -> str:
    error = document.get("error") if isinstance(document, dict) else None
    return str(error) if error else f"it answers with status {status}"


def _seconds(text: str | None) -> float:
    try:
        return max(0.1, float(text or "1"))
    except ValueError:
        return 1.0
