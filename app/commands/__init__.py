"""The commands of ``python -m app``, each in the module of its name."""
