"""Measurements, as commands: ``python -m benchmarks startup``.

Figures and their history: docs/explanation/performance.md.
"""
