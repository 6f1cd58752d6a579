"""``--strategy ray``: Ray Train starts the workers of a multi-worker training on the machines of a cluster."""
