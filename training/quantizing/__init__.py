"""Smaller and faster forms of a published version: int8 and float16."""
