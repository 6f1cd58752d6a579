"""The data sets, one module each, and the project's own synthetic data set."""
