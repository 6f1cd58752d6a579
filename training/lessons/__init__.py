"""One file per lesson: a system of the course whose result is what it shows, not a model trained on a data set."""
