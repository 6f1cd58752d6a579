"""Drift: how far the traffic of a version differs from the data that it was trained on."""
