"""HTTP: connections under limits, and inference requests from their head to their reply."""
