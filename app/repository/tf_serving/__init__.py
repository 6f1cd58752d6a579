"""Models that TensorFlow Serving served: what its models.config says, in the words of serving.json."""
