"""Scenarios, one subject per file."""
