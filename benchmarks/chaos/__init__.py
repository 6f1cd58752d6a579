"""What goes wrong around a service: killed workers, hostile clients, no descriptors left, a clock that jumps."""
