"""Models of TensorFlow Serving: its models.config, converted to settings of serving.json."""
