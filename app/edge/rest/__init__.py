"""Wire formats over HTTP: TensorFlow Serving's REST API, the Open Inference Protocol, Triton's generate extension."""
