"""Atelier's service: loads published model versions and answers predictions over REST."""

__version__ = "0.1.0"
