"""What goes wrong around a service: killed and stopped workers, hostile and vanishing clients, no descriptors left."""
