"""Faults around a service: killed workers, hostile clients, no file descriptors left, a clock that jumps."""
