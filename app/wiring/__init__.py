"""How the parts become one service: used by ``main`` and the worker processes alone."""
