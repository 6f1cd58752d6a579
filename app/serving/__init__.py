"""One request through the data plane: validation, works, prediction, generation. Independent of HTTP and runtimes."""
