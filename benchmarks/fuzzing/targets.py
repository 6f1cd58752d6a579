"""The decoders, each as a function of bytes that raises only if the decoder breaks its promise."""

import json
import re
import struct
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from app.contract.files.json_text import read_json
from app.contract.golden import GOLDEN_FILE, Golden
from app.contract.images.image_file import no_bound, open_image
from app.contract.manifest import MANIFEST_FILE, verify_manifest
from app.contract.model_spec import SPEC_FILE, ModelSpec
from app.control.peer import NEAR
from app.edge.call import InferenceRequest, Route
from app.edge.codec import media
from app.edge.codec.encoded import Encoded, Inputs, decode
from app.edge.codec.json_tensor import JsonReader
from app.edge.codec.json_values import plain
from app.edge.entry.door import Visit
from app.edge.grpc.status import details_of
from app.edge.http.compression import inflate
from app.edge.respond import Reply, error_reply
from app.edge.rest import oip as v2
from app.edge.rest import tfs as v1
from app.edge.rest.generate import parse_generate
from app.edge.rest.request import HttpRequest
from app.edge.rest.routes import canonical, match, match_target
from app.edge.shared_memory.regions import NO_MEMORY
from app.errors import ServingError
from app.loaded import LoadedModel
from app.serving.validation import conform
from benchmarks.fuzzing import seeds
from benchmarks.fuzzing.models import PIXEL_LIMIT, SIDE, image_model, numbers_model, rule_model, text_model

INFLATE_LIMIT_BYTES = 100_000
_ROUTE = Route("v1", "any", None, None, "predict", "v1:predict", is_inference=True)

Check = Callable[[bytes], None]


class PromiseBroken(AssertionError):
    """A decoder returned something that its signature does not allow, or an error that cannot be sent."""


@dataclass(frozen=True)
class Target:
    """One decoder.

    Attributes:
        name: for reports, and of its folder in the corpus.
        seeds: valid input.
        decode: raises ServingError for refused input; anything else is a finding.
    """

    name: str
    seeds: Sequence[bytes]
    decode: Check

    def outcome(self, data: bytes) -> str:
        """The outcome of ``data``: "ok", or the refusal without the parts that vary with the input."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                self.decode(data)
            except ServingError as error:
                _check_error(error)
                return type(error).__name__ + _QUOTED.sub("", error.message)[:60]
        return "ok"


# Parts of an error that repeat the input.
_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"|[0-9]+|got: .*|0x..|Content-Type .*")


def make_targets(directory: Path, *, grpc: bool = True) -> list[Target]:
    """All decoders.

    Args:
        directory: for the files of decoders that read files.
        grpc: include gRPC's decoder; its messages and those of Triton's client cannot be in one process.
    """
    reader = JsonReader(fallback_limit_bytes=2**20)
    image, text, numbers, rule = image_model(), text_model(), numbers_model(), rule_model()
    everything = [image, text, numbers, rule]
    numbers_seeds = [*seeds.predict_numbers(), b'{"instances": [[1.5], [-0.0]]}', b'{"inputs": [[NaN]]}']
    predict = partial(_predict, reader=reader)
    return [
        Target("json", [*seeds.predict_image(), *numbers_seeds, *seeds.infer_json()], partial(_json, reader)),
        Target("json text", [*seeds.predict_text(), *seeds.generate()], partial(_json_text)),
        Target("v1 predict, image", seeds.predict_image(), partial(predict, model=image)),
        Target("v1 predict, text", seeds.predict_text(), partial(predict, model=text)),
        _with_models("v1 predict, numbers", numbers_seeds, predict, [numbers, rule]),
        _with_models("v1 classify, regress", seeds.examples(), partial(_examples, reader=reader), everything),
        _with_models("v2 json", seeds.infer_json(), partial(_infer_json, reader=reader), everything),
        _with_models("v2 binary", seeds.infer_binary(), partial(_infer_binary, reader=reader), everything),
        Target("generate", seeds.generate(), partial(_generate, reader)),
        _with_models("media", seeds.media(), _media, everything),
        Target("image body", seeds.images(), partial(_image, image)),
        Target("image", seeds.images(), partial(_decode_image)),
        Target("tokenizer", seeds.texts(), partial(_tokens, text)),
        Target("inflate", seeds.compressed(), _inflate),
        Target("heads", seeds.heads(), _heads),
        Target("paths", [b"/v1/models/a/versions/1:predict?top_k=2", b"/v2/models/%41/versions/2/infer"], _paths),
        *(_grpc_targets(everything) if grpc else ()),
        *_tfs_targets(everything),
        Target("golden", seeds.golden_files(), partial(_file, directory, GOLDEN_FILE, Golden.read)),
        Target("manifest", seeds.manifests(), partial(_file, directory, MANIFEST_FILE, verify_manifest)),
        Target(
            "model.json",
            [model.spec.model_dump_json().encode() for model in everything],
            partial(_file, directory, SPEC_FILE, ModelSpec.read),
        ),
    ]


def _with_models(
    name: str, inputs: Sequence[bytes], decode: Callable[..., None], models: Sequence[LoadedModel]
) -> Target:
    """A decoder for several models: the first byte of its input selects one."""

    def check(data: bytes) -> None:
        decode(data[1:], model=models[data[0] % len(models)] if data else models[0])

    def fits(data: bytes) -> bool:
        try:
            check(data)
        except ServingError:
            return False
        return True

    pairs = [bytes([index]) + one for one in inputs for index in range(len(models))]
    return Target(name, [data for data in pairs if fits(data)], check)


def _grpc_targets(models: Sequence[LoadedModel]) -> list[Target]:
    from benchmarks.fuzzing.grpc_messages import decode, requests

    return [_with_models("grpc", requests(), partial(decode, obey=_obey), models)]


def _tfs_targets(models: Sequence[LoadedModel]) -> list[Target]:
    from benchmarks.fuzzing.tfs_messages import PARSERS, decode, requests

    return [
        _with_models(f"tfs {verb}", requests(verb), partial(decode, verb=verb, obey=_obey), models) for verb in PARSERS
    ]


def _check_error(error: ServingError) -> None:
    """Check that an error can be sent over both protocols."""
    body = error_reply(error).body
    if json.loads(body).keys() != {"error"}:
        raise PromiseBroken(f"error body {body!r}")
    details_of(error).encode("utf-8")


def _obey(inputs: Inputs, model: LoadedModel) -> int:
    """Check inputs: they are refused, or match the signature. Returns the number of rows."""
    tensors = {
        name: decode(value, model, room=no_bound, check=_go_on) if isinstance(value, Encoded) else value
        for name, value in inputs.items()
    }
    conformed = conform(tensors, model.spec)
    rows = {len(array) for array in conformed.values()}
    if len(rows) != 1 or not min(rows):
        raise PromiseBroken(f"rows {rows}")
    for tensor in model.spec.inputs:
        array = conformed[tensor.name]
        wanted = (array.shape[0], *(have if size == -1 else size for have, size in zip(array.shape[1:], tensor.shape)))  # noqa: B905
        if array.dtype != tensor.numpy_dtype or array.shape != wanted or array.ndim != len(tensor.shape) + 1:
            raise PromiseBroken(f"{tensor.name} became {array.dtype} {array.shape}")
        if tensor.finite and not np.isfinite(array).all():
            raise PromiseBroken(f"{tensor.name} holds what is not finite")
    return min(rows)


def _answer(request: InferenceRequest[Reply], model: LoadedModel) -> None:
    """Check that the request is refused, or that its answer can be encoded."""
    rows = _obey(request.inputs, model)
    reply = request.print_answer({one.name: np.zeros((rows, *one.shape), np.float32) for one in model.spec.outputs})
    if reply.status != 200:
        raise PromiseBroken(f"status {reply.status}")


def _go_on() -> None:
    """The client always waits for the result."""


def _json(reader: JsonReader, data: bytes) -> None:
    document = reader.read(data)
    for key in sorted(document.keys()):
        with suppress(ServingError):
            document.tensor(document.get(key), key)
        plain(document.get(key))


def _json_text(data: bytes) -> None:
    json.dumps(read_json(data, strict=True), ensure_ascii=False).encode("utf-8")


def _predict(data: bytes, *, model: LoadedModel, reader: JsonReader) -> None:
    inputs, layout = v1.parse_predict(reader.read(data), model)
    rows = _obey(inputs, model)
    v1.print_predict({one.name: np.zeros((rows, *one.shape), np.float32) for one in model.spec.outputs}, layout)


def _examples(data: bytes, *, model: LoadedModel, reader: JsonReader) -> None:
    _obey(v1.parse_examples(reader.read(data), model), model)


def _infer_json(data: bytes, *, model: LoadedModel, reader: JsonReader) -> None:
    _answer(v2.parse_infer(data, None, model, reader, NO_MEMORY), model)


def _infer_binary(data: bytes, *, model: LoadedModel, reader: JsonReader) -> None:
    length = struct.unpack_from("<H", data)[0] if len(data) >= 2 else 0
    _answer(v2.parse_infer(data[2:], length, model, reader, NO_MEMORY), model)


def _generate(reader: JsonReader, data: bytes) -> None:
    text, sampling, options, _ = parse_generate(data, reader)
    text.encode("utf-8")
    if sampling.max_tokens < 1 or not sampling.temperature >= 0 or options.priority < 0:
        raise PromiseBroken(f"{sampling}, {options}")


def _media(data: bytes, *, model: LoadedModel) -> None:
    head, _, body = data.partition(b"\n")
    content_type = head.decode("latin-1")
    kind = media.kind_of(content_type, body, model)
    if kind != "json" and body:
        _obey(media.parse_media(kind, content_type, body, model, check=_go_on), model)


def _image(model: LoadedModel, data: bytes) -> None:
    if data:
        _obey(media.parse_media("image", "image/png", data, model, check=_go_on), model)


def _decode_image(data: bytes) -> None:
    file = open_image(data, pixel_limit=PIXEL_LIMIT, longest_edge=SIDE)
    if file.peak_bytes < file.image.width * file.image.height // file.factor**2:
        raise PromiseBroken("less room than the pixels take")
    image = file.decode()
    if image.mode not in {"L", "RGB"} or image.width * image.height > PIXEL_LIMIT:
        raise PromiseBroken(f"image of mode {image.mode}, {image.size}")


def _tokens(model: LoadedModel, data: bytes) -> None:
    _obey({"token_ids": Encoded([data])}, model)


def _inflate(data: bytes) -> None:
    encoding = {b"g": "gzip", b"d": "deflate"}.get(data[:1], "")
    plain_bytes = inflate(data[1:], encoding, limit_bytes=INFLATE_LIMIT_BYTES)
    if plain_bytes is None or len(plain_bytes) > max(INFLATE_LIMIT_BYTES, len(data)):
        raise PromiseBroken("more than the limit")


def _heads(data: bytes) -> None:
    lines = [line.partition(b":") for line in data.split(b"\n")]
    headers = [(name.strip().lower(), value.strip()) for name, _, value in lines]
    visit = Visit(NEAR, {}, b"", ())
    HttpRequest(route=_ROUTE, began=0.0, headers=headers, query=b"", visit=visit).read_headers()


def _paths(data: bytes) -> None:
    match_target(data)
    path = data.decode("utf-8", "replace")
    match(path)
    canonical(path)


def _file(directory: Path, name: str, read: Callable[[Path], object], data: bytes) -> None:
    (directory / name).write_bytes(data)
    try:
        read(directory)
    finally:
        (directory / name).unlink()
