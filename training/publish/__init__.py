"""A version with its golden samples, put next to the others in one step."""
