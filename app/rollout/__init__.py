"""A canary next to the stable version: its share of requests, the comparison of both, the limits that halt it."""
