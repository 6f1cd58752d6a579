"""Requests beyond what a model can answer, in an open loop: what is answered, what is refused, and how soon."""
