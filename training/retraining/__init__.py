"""Trains a published version again with new rows, mixed with old ones, and publishes the result if it is better."""
