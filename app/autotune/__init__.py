"""Measures batching settings of one model and writes the best of them to its serving.json."""
