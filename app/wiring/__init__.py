"""Combines the parts into one service; used only by ``main`` and the worker processes."""
