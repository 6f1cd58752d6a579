"""The backends: ONNX Runtime, and TensorFlow in a separate process."""
