"""The hot path: ASGI in, ASGI out. Knows HTTP and the wire formats, nothing about batching."""
