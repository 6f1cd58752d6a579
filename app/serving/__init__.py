"""The data plane: validation, admission, queue and batches. Knows no HTTP and no runtime."""
