"""Inference over HTTP: from the head of a request to its reply."""
