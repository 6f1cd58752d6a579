"""Alternatives that were tried and are not what the service does: each can still be run."""
