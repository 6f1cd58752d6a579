"""Measurements, as commands: ``python -m benchmarks startup``. Figures and their history: docs/performance.md."""
