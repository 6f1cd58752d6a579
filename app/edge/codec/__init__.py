"""What several wire formats share: tensors as JSON and as bytes, images and texts, and the threads that decode them."""
