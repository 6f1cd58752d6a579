"""Atelier's service: loads published model versions and answers predictions over REST."""

import os

__version__ = "0.1.0"

# The official builds of ONNX Runtime send usage data (names of graphs and their producers, sessions, devices) to their
# maker unless this is set before their import, and keep a database of it in the user's cache. Source: ONNX Runtime's
# docs/Privacy.md; on Linux since 1.29. Who wants to send it sets the variable to 0.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
