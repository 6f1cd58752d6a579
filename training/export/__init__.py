"""Keras to SavedModel and ONNX, and the proof that the numbers are the same."""
