"""TensorFlow Serving over gRPC: PredictionService and ModelService."""
