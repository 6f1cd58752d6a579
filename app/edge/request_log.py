"""Lines of the log about single requests that were refused or failed."""

import logging

from app.edge.call import Route
from app.edge.respond import is_fault
from app.errors import ServingError
from app.loaded import LoadedModel

log = logging.getLogger("atelier.edge")


def log_refusal(
    route: Route, error: ServingError, code: int, request_id: str, model: LoadedModel | None = None
) -> None:
    """Log a server fault as an error and everything else at level debug. ``model`` is the version that refused it."""
    level, word = (logging.ERROR, "failed") if is_fault(error) else (logging.DEBUG, "refused")
    if log.isEnabledFor(level):
        fields = request_fields(request_id, model)
        log.log(level, "%s of model %s %s with %d: %s", route.verb, route.name, word, code, error.message, extra=fields)


def request_fields(request_id: str, model: LoadedModel | None) -> dict[str, dict[str, object]]:
    """Fields of a line about a request, in addition to the model in its message."""
    return {"fields": {"request_id": request_id} | ({} if model is None else {"version": model.version})}
