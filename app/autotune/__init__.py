"""Measures batching settings of one model and writes the best of them into its serving.json."""
