"""The measurements: workloads, servers, and the targets of Atelier."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from benchmarks.serving import forms
from benchmarks.serving.forms import Form
from benchmarks.serving.many_models import FIRST
from benchmarks.serving.samples import IMAGE_MODEL, LARGE_BATCH, OTHER_IMAGE_MODEL, TEXT_MODEL, png

ATELIER, FLOOR, IN_PROCESS, MANY = "atelier", "floor", "in-process", "atelier-20x2"
GRANIAN, BARE = "floor-granian", "bare"
BEST_PEER = "best peer"
ANSWER_BYTES, V2_ANSWER_BYTES, LABELS_BYTES, TEXT_ANSWER_BYTES, LARGE_ANSWER_BYTES = 135, 210, 265, 50, 10_420
V2_JSON_ANSWER_BYTES = 260
CONNECTIONS = 32
SEVERAL = 16
OPEN_LOOP_SHARE = 0.8
"""Share of a server's own maximum rate."""

Figure = Literal["rate", "p50", "p99", "tail"]


@dataclass(frozen=True)
class Target:
    """The target for a ratio of Atelier.

    Attributes:
        against: server by name, the best peer, or None for a figure of Atelier alone.
        figure: ``rate``: requests per second, Atelier's divided by the other's. ``p50``, ``p99``: latencies, divided
            the same way. ``tail``: p99 divided by p50.
        at_least, at_most: limit; None for a figure that is only reported.
    """

    against: str | None
    figure: Figure = "rate"
    at_least: float | None = None
    at_most: float | None = None


@dataclass(frozen=True)
class Workload:
    """One kind of load.

    Attributes:
        kind: ``image`` or ``text``.
        forms: server -> form of its requests; servers without an entry do not support this load.
        rows: instances per request.
        connections: of a closed loop.
        open_loop_of: workload of whose maximum rate this one uses ``OPEN_LOOP_SHARE``; None: closed loop.
        peers_of: other workloads whose peers also count for the best peer.
    """

    name: str
    title: str
    kind: Literal["image", "text"]
    forms: Mapping[str, Form]
    targets: tuple[Target, ...]
    rows: int = 1
    connections: int = CONNECTIONS
    open_loop_of: str | None = None
    peers_of: tuple[str, ...] = ()


_V1_IMAGE = forms.json_list(f"/v1/models/{IMAGE_MODEL}:predict", "instances", "predictions")
_RAW = forms.raw(f"/v1/models/{IMAGE_MODEL}:predict", "predictions", rows=True)
_TWO = forms.in_turn(_RAW, forms.raw(f"/v1/models/{OTHER_IMAGE_MODEL}:predict", "predictions", rows=True))
_V2_IMAGE = forms.v2_binary(IMAGE_MODEL)
_V2_JSON_IMAGE = forms.v2_json(IMAGE_MODEL)
_PNG = forms.picture(f"/v1/models/{IMAGE_MODEL}:classify", png)
_TEXT = forms.json_list(f"/v1/models/{TEXT_MODEL}:predict", "instances", "predictions")
_FASTAPI = "/predict"

_IMAGE_JSON: dict[str, Form] = {
    FLOOR: forms.constant(f"/{ANSWER_BYTES}", _V1_IMAGE),
    "fastapi": forms.constant(_FASTAPI, _V1_IMAGE),
    "fastapi-onnx": forms.json_list(_FASTAPI, "instances", "predictions"),
    "litserve": forms.json_single("/predict", "image", "probabilities"),
    "bentoml": forms.json_list("/predict", "images", None),
    "mlserver": forms.v2_json("peer"),
    "ray": forms.json_single("/predict", "image", "probabilities"),
    "mosec": forms.json_single("/inference", "image", "probabilities"),
    "triton": forms.v2_json("peer"),
    "pytriton": forms.v2_json("peer"),
    GRANIAN: forms.constant(f"/{ANSWER_BYTES}", _V1_IMAGE),
    BARE: _V1_IMAGE,
    ATELIER: _V1_IMAGE,
}
_IMAGE_RAW: dict[str, Form] = {
    FLOOR: forms.constant(f"/{ANSWER_BYTES}", _RAW),
    "fastapi": forms.constant(_FASTAPI, _RAW),
    "fastapi-onnx": forms.raw("/raw", "predictions", rows=True),
    "ray": forms.raw("/predict", "probabilities", rows=False),
    "mosec": forms.raw("/inference", "probabilities", rows=False),
    "triton": forms.v2_raw("peer"),
    "pytriton": forms.v2_raw("peer"),
    GRANIAN: forms.constant(f"/{ANSWER_BYTES}", _RAW),
    BARE: _RAW,
    ATELIER: _RAW,
}
_TEXTS: dict[str, Form] = {
    FLOOR: forms.constant(f"/{TEXT_ANSWER_BYTES}", _TEXT),
    "fastapi-onnx": forms.json_list("/texts", "instances", "predictions"),
    "litserve": forms.json_single("/predict", "text", "probabilities"),
    "bentoml": forms.json_list("/texts", "texts", None),
    "mlserver": forms.v2_json("peer"),
    "ray": forms.json_single("/predict", "text", "probabilities"),
    "mosec": forms.json_single("/inference", "text", "probabilities"),
    "pytriton": forms.v2_json("peer"),
    ATELIER: _TEXT,
}


def _without(found: Mapping[str, Form], *names: str) -> dict[str, Form]:
    return {name: form for name, form in found.items() if name not in names}


_TAIL = (Target(None, "tail", at_most=5), Target(FLOOR, "p99", at_most=1.5))


def _raw(name: str, title: str, *, connections: int, **more: Any) -> Workload:
    """Raw bytes of Atelier beside the floor only, which is reported."""
    forms_of = {FLOOR: _IMAGE_RAW[FLOOR], ATELIER: _RAW}
    return Workload(name, title, "image", more.get("forms", forms_of), (Target(FLOOR),), connections=connections)


def _several(name: str, form: Form, at_least: float) -> Workload:
    """SEVERAL images in one request, against as many in one call of ONNX Runtime in process."""
    title = f"{SEVERAL} images in one request, {name}"
    return Workload(
        f"several-{name}", title, "image", {ATELIER: form}, (Target(IN_PROCESS, at_least=at_least),), SEVERAL
    )


WORKLOADS = {
    workload.name: workload
    for workload in (
        Workload(
            "image-json",
            "one 28x28 image, JSON integers",
            "image",
            _IMAGE_JSON,
            (
                Target(FLOOR, at_least=0.70),
                Target(BEST_PEER, at_least=3),
                Target("litserve", at_least=8),
                Target("bentoml", at_least=8),
                Target("mlserver", at_least=8),
            ),
        ),
        Workload(
            "image-raw",
            "one image, raw bytes",
            "image",
            _IMAGE_RAW,
            (Target(FLOOR, at_least=0.90), Target(BEST_PEER, at_least=4)),
            peers_of=("image-v2",),
        ),
        Workload(
            "image-v2",
            "one image, V2 binary tensors both ways",
            "image",
            {
                FLOOR: forms.constant(f"/{V2_ANSWER_BYTES}", _V2_IMAGE),
                "triton": forms.v2_binary("peer"),
                "pytriton": forms.v2_binary("peer"),
                ATELIER: _V2_IMAGE,
            },
            (Target(FLOOR, at_least=0.80), Target(BEST_PEER, at_least=4)),
            peers_of=("image-raw",),
        ),
        Workload(
            "image-v2-json",
            "one image, V2 JSON",
            "image",
            {
                FLOOR: forms.constant(f"/{V2_JSON_ANSWER_BYTES}", _V2_JSON_IMAGE),
                "mlserver": forms.v2_json("peer"),
                "triton": forms.v2_json("peer"),
                "pytriton": forms.v2_json("peer"),
                ATELIER: _V2_JSON_IMAGE,
            },
            (Target(FLOOR, at_least=0.60),),
        ),
        Workload(
            "image-png",
            "one PNG, :classify",
            "image",
            {FLOOR: forms.constant(f"/{LABELS_BYTES}", _PNG), ATELIER: _PNG},
            (Target(FLOOR, at_least=0.30),),
        ),
        Workload(
            "latency",
            "one image, raw bytes, one connection",
            "image",
            _IMAGE_RAW,
            (Target(FLOOR, "p50", at_most=1.5),),
            connections=1,
        ),
        _raw("image-raw-8", "one image, raw bytes, 8 connections", connections=8),
        _raw("image-raw-128", "one image, raw bytes, 128 connections", connections=128),
        _raw(
            "image-raw-close",
            "one image, raw bytes, a new connection for each request",
            connections=CONNECTIONS,
            forms={FLOOR: forms.closing(_IMAGE_RAW[FLOOR]), ATELIER: forms.closing(_RAW)},
        ),
        _raw(
            "two-models",
            f"one image, raw bytes, to {IMAGE_MODEL} and {OTHER_IMAGE_MODEL} in turn",
            connections=CONNECTIONS,
            forms={FLOOR: forms.constant(f"/{ANSWER_BYTES}", _TWO), ATELIER: _TWO},
        ),
        _several("raw", _RAW, 0.6),
        _several("json", _V1_IMAGE, 0.3),
        Workload(
            "sentences",
            "one sentence of 5 to 250 tokens, JSON",
            "text",
            _TEXTS,
            (Target(FLOOR), Target(BEST_PEER, at_least=4)),
        ),
        Workload(
            "tail-image",
            "one image, JSON integers, open loop at 80 % of the own maximum",
            "image",
            _without(_IMAGE_JSON, "fastapi"),
            _TAIL,
            open_loop_of="image-json",
        ),
        Workload(
            "tail-sentences",
            "one sentence, open loop at 80 % of the own maximum",
            "text",
            _TEXTS,
            _TAIL,
            open_loop_of="sentences",
        ),
        Workload(
            "batch-256",
            "256 images in one V2 binary request, one connection",
            "image",
            {
                FLOOR: forms.constant(f"/{LARGE_ANSWER_BYTES}", _V2_IMAGE),
                "triton": forms.v2_binary("peer"),
                "pytriton": forms.v2_binary("peer"),
                ATELIER: _V2_IMAGE,
            },
            (Target(IN_PROCESS, "p50"), Target(FLOOR, "p50")),
            rows=LARGE_BATCH,
            connections=1,
        ),
        Workload(
            "many-models",
            "one image, raw bytes, to one of 20 models with 2 versions each",
            "image",
            {
                FLOOR: _IMAGE_RAW[FLOOR],
                ATELIER: _RAW,
                MANY: forms.raw(f"/v1/models/{FIRST}:predict", "predictions", rows=True),
            },
            (Target(MANY),),
        ),
    )
}


def expected(workload: Workload, samples: Any) -> tuple[list[Any], list[Any]]:
    """Instances of each distinct request, and their answers."""
    if workload.kind == "text":
        rows = range(len(samples.texts))
        return [samples.texts[row : row + 1] for row in rows], [samples.text_answers[row : row + 1] for row in rows]
    if workload.name == "two-models":
        both = samples.image_answers, samples.other_image_answers
        rows = range(len(both[1]))
        return [(row % 2, samples.images[row : row + 1]) for row in rows], [
            both[row % 2][row : row + 1] for row in rows
        ]
    starts = range(0, len(samples.images) - workload.rows + 1, workload.rows)
    return [samples.images[start : start + workload.rows] for start in starts], [
        samples.image_answers[start : start + workload.rows] for start in starts
    ]
