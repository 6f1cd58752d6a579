"""From single requests to batches: admission, queue, batches, and the threads that run them. Knows no HTTP."""
