"""Triton's perf_analyzer against a service; not part of the suite, see ``__main__``."""
