"""One file per lesson: a system of the course that is worked through rather than trained on a data set."""
