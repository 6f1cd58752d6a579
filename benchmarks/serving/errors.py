"""Why something was not measured."""


class Unavailable(Exception):
    """A server, a tool or a workload cannot be measured here; the message says why and, if known, what would help."""
