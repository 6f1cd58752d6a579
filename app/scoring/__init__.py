"""Bulk scoring: files in, one row of answers for each instance out."""
