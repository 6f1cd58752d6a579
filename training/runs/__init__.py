"""Runs: what a command starts, from data to a published version, and where it writes."""
