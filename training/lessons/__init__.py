"""One file per lesson: a system of the course that is computed step by step instead of trained on a data set."""
