"""Instances of the project's own, drawn and written; nothing here is from a data set."""
