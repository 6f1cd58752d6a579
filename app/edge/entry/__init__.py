"""Checks on every request before it is read: addresses, TLS, API keys, origins, request ids, the access log."""
