"""From instances to batches: settings, and the tf.data pipelines of images, texts, running text and numbers."""
