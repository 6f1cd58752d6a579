"""Publishes a version with its golden samples next to the other versions, in one step."""
