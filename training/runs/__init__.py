"""Runs: the work of a command, from data to a published version, and the directories it writes to."""
