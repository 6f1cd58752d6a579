"""Paths of the inference routes, and those that differ from them only in their verb.

TensorFlow Serving: ``/v1/models/{name}[/versions/{n}|/labels/{l}]:{verb}``, in any case.
Open Inference Protocol: ``/v2/models/{name}[/versions/{n}]/{verb}``.
"""

import re
from functools import lru_cache
from urllib.parse import unquote

from app.edge.call import Route

V1_VERBS = ("predict", "classify", "regress")
EXPLAIN = "explain"
"""A verb of V1 whose answer takes many batches, so that it is no plain inference."""
FEEDBACK = "feedback"
"""A verb of V1 that is not inference; FastAPI answers it."""
V2_VERBS = ("infer", "generate", "generate_stream")

_V1 = re.compile(
    r"/v1/models/(?P<name>[^/:]+)(?:/versions/(?P<version>[^/:]*)|/labels/(?P<label>[^/:]+))?:(?P<verb>[^/:]+)",
    re.IGNORECASE,
)
_V2 = re.compile(rf"/v2/models/(?P<name>[^/]+)(?:/versions/(?P<version>[^/]+))?/(?P<verb>{'|'.join(V2_VERBS)})")
# Fixed parts of TensorFlow Serving's paths; names and labels between them keep their case.
_V1_STATUS = re.compile(
    r"/v1/models(?P<rest>/(?P<name>[^/:]+)(?:/(?P<kind>versions|labels)/(?P<which>[^/:]+))?(?P<end>/metadata|:feedback)?)?",
    re.IGNORECASE,
)


@lru_cache(maxsize=1024)
def match(path: str) -> Route | None:
    """The route of a decoded path; None if it is not an inference path."""
    if (found := _V1.fullmatch(path)) is not None:
        verb = found["verb"].lower()
        return Route(
            "v1", found["name"], found["version"], found["label"], verb, f"v1:{verb}", is_inference=verb in V1_VERBS
        )
    if (found := _V2.fullmatch(path)) is not None:
        verb = found["verb"]
        return Route("v2", found["name"], found["version"], None, verb, f"v2:{verb}", is_inference=verb == "infer")
    return None


def canonical(path: str) -> str:
    """A path of TensorFlow Serving's status routes with its fixed words in lower case; any other path unchanged."""
    if path[:4] not in {"/v1/", "/V1/"} or (found := _V1_STATUS.fullmatch(path)) is None:
        return path
    place = f"/{found['kind'].lower()}/{found['which']}" if found["kind"] else ""
    name = f"/{found['name']}" if found["name"] else ""
    return f"/v1/models{name}{place}{(found['end'] or '').lower()}"


@lru_cache(maxsize=1024)
def match_target(target: bytes) -> tuple[Route, bytes] | None:
    """The route and the query of a request target as written in the request line; None if not an inference path."""
    path, _, query = target.partition(b"?")
    found = match(unquote(path.decode("latin-1")))
    return None if found is None else (found, query)
