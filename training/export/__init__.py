"""Exports Keras models to SavedModel and ONNX, and proves that the numbers are the same."""
