"""Reasons why something was not measured."""


class Unavailable(Exception):
    """A server, a tool or a workload cannot be measured here; the message gives the reason and, if known, the fix."""
