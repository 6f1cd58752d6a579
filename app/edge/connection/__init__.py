"""One HTTP connection: from bytes to requests, under limits, and its replies."""
