"""Health checks: their paths and their replies."""

import orjson

from app.edge.respond import Reply, error_body
from app.lifecycle.readiness import not_ready_reason
from app.lifecycle.registry import Registry

# The first of each is of the Open Inference Protocol; the others are common in Kubernetes.
LIVE = ("/v2/health/live", "/livez")
READY = ("/v2/health/ready", "/healthz")
PATHS = frozenset(LIVE + READY)
_IS_LIVE, _IS_READY = Reply(200, orjson.dumps({"live": True})), Reply(200, orjson.dumps({"ready": True}))


class Probes:
    """Answers health checks, also those that a connection answers without ASGI.

    Args:
        registry: knows whether the service is ready.
    """

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def reply(self, path: str) -> Reply | None:
        """The reply to GET of this path; None if it is not a health check."""
        if path in LIVE:
            return _IS_LIVE
        if path not in READY:
            return None
        reason = not_ready_reason(self._registry)
        return _IS_READY if reason is None else Reply(503, error_body(reason))
