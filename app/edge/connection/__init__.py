"""One HTTP connection: parses bytes to requests under limits, and writes the replies."""
