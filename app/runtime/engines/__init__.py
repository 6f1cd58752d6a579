"""The backends: ONNX Runtime, and TensorFlow in a process of its own."""
