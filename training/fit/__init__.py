"""Training: one network, one stage, a whole recipe; callbacks and warnings."""
