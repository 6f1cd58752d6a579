"""Code shared by the wire formats: tensors as JSON and as bytes, images and texts, and the threads that decode them."""
