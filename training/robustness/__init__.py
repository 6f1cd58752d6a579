"""How a published classifier of images answers images that are changed a little."""
