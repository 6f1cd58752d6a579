"""One request through the data plane: validation, works, prediction, generation. Knows no HTTP and no runtime."""
