"""Extensions of Triton that the service does not have: the errors for clients that use them."""

TRACE_SETTINGS = (
    "trace settings are not supported: ATELIER_TRACING_ENDPOINT of the service sets whether requests are traced; GET "
    "/metrics and the statistics time all requests"
)
LOG_SETTINGS = (
    "log settings are not supported: --log-level, --log-format and --access-log of the service set what is logged"
)
