"""From a version directory to a loaded model, verified."""
