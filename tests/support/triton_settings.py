"""Calls of Triton's clients, the same over HTTP and gRPC, for settings that the service does not have."""

from functools import partial


def settings_calls(client):
    """Each call, and the first word of its error."""
    return (
        (client.get_log_settings, "log"),
        (partial(client.update_log_settings, {"log_verbose_level": 1}), "log"),
        (client.get_trace_settings, "trace"),
        (partial(client.update_trace_settings, "brightness", {"trace_rate": "1"}), "trace"),
    )
