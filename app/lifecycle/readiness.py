"""Whether the service as a whole is ready."""

from app.lifecycle.registry import Registry


def not_ready_reason(registry: Registry) -> str | None:
    """Why the service is not ready; None when ready."""
    if registry.draining:
        return "the service is shutting down"
    if registry.loading or registry.others_load:
        return "models are loading" if registry.loading_reason is None else registry.loading_reason()
    defaults, sleep = registry.defaults(), registry.asleep.names
    if not defaults and not sleep:
        return "no model version could be loaded; see the log"
    if backends_hang(registry):
        return "the backends of all models hang; see the log"
    if defaults and not sleep and all(model.instances.problem for model in defaults):
        return "no backend of any model can run a batch; see the log"
    return None


def backends_hang(registry: Registry) -> bool:
    """Whether the backends of all versions that answer requests hang."""
    defaults = registry.defaults()
    return bool(defaults) and not any(model.instances.usable for model in defaults)
